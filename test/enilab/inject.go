package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"time"

	"github.com/enichain/enichain/test/vpcsim"
)

// trouble is what a lab's cloud is told to be like. What is not given stays as it is.
type trouble struct {
	Fault    *vpcsim.Fault  `json:"fault,omitempty"`
	Bucket   *vpcsim.Bucket `json:"bucket,omitempty"`
	Delays   *vpcsim.Delays `json:"delays,omitempty"`
	Lag      *time.Duration `json:"lag,omitempty"`
	Stale    *bool          `json:"stale,omitempty"`
	Quota    *int           `json:"quota,omitempty"`
	Fill     string         `json:"fill,omitempty"` // a subnet
	Left     int            `json:"left,omitempty"`
	Fragment string         `json:"fragment,omitempty"` // a subnet
}

// inject makes the cloud fail.
func inject(args []string, _ io.Writer) error {
	set, name := flags("inject")
	w := &trouble{Fault: &vpcsim.Fault{}, Bucket: &vpcsim.Bucket{}, Delays: &vpcsim.Delays{}, Lag: new(time.Duration), Quota: new(int)}
	stale := w.flags(set)
	clearAll := set.Bool("clear", false, "end all of it")
	if err := noOperands(set, args); err != nil {
		return err
	}
	s, err := stateOf(*name)
	if err != nil {
		return err
	}
	if *clearAll {
		return s.call(http.MethodDelete, "/trouble", nil, nil)
	}
	if err := w.keepGiven(set, *stale); err != nil {
		return err
	}
	return s.call(http.MethodPost, "/trouble", w, nil)
}

// flags are those of what can be told; stale is parsed later.
func (w *trouble) flags(set *flag.FlagSet) (stale *string) {
	set.StringVar(&w.Fault.Action, "action", "", "the API's `action`, or IMDS or IMDSToken for the metadata service, or Task for Tencent Cloud's; any of the API's where it is empty")
	set.StringVar(&w.Fault.Code, "code", "", "the cloud's error `code`, e.g. RequestLimitExceeded")
	set.IntVar(&w.Fault.Status, "status", 0, "HTTP status")
	set.StringVar(&w.Fault.Message, "message", "", "the cloud's `message`")
	set.IntVar(&w.Fault.Times, "times", 1, "how many calls; -1 is all until -clear")
	set.BoolVar(&w.Fault.AfterEffect, "after", false, "do the work first; without -code and -status, the answer is lost then")
	set.DurationVar(&w.Fault.Delay, "delay", 0, "hold the call for so long")
	set.Float64Var(&w.Bucket.PerSecond, "rate", 0, "throttle the -action, or all, to so many calls a second")
	set.IntVar(&w.Bucket.Burst, "burst", 1, "with -rate, how many calls may come at once")
	set.DurationVar(&w.Delays.Create, "create-delay", 0, "until a new ENI is available")
	set.DurationVar(&w.Delays.Attach, "attach-delay", 0, "until an ENI is attached")
	set.DurationVar(&w.Delays.Detach, "detach-delay", 0, "until it is detached")
	set.DurationVar(&w.Delays.Visible, "visible-delay", 0, "until a new ENI is known to other calls")
	set.DurationVar(&w.Delays.Fabric, "link-delay", 0, "how long links and addresses lag behind the API")
	set.DurationVar(w.Lag, "lag", 0, "how long the metadata service lags behind the API")
	set.IntVar(w.Quota, "quota", 0, "how many ENIs the account may have; 0 is any number")
	set.StringVar(&w.Fill, "fill", "", "a `subnet` that others take the addresses of")
	set.IntVar(&w.Left, "left", 0, "with -fill, how many they leave")
	set.StringVar(&w.Fragment, "fragment", "", "a `subnet` that others leave no room for a prefix in")
	return set.String("stale", "", "`on` freezes what the metadata service says, off lets it follow again")
}

// keepGiven drops what no flag was given for. A delay that is given ends the others.
func (w *trouble) keepGiven(set *flag.FlagSet, stale string) error {
	given := map[string]bool{}
	set.Visit(func(f *flag.Flag) { given[f.Name] = true })
	if !given["code"] && !given["status"] && !given["delay"] && !w.Fault.AfterEffect {
		w.Fault = nil
	}
	if w.Bucket.Action = set.Lookup("action").Value.String(); !given["rate"] {
		w.Bucket = nil
	}
	if !given["create-delay"] && !given["attach-delay"] && !given["detach-delay"] && !given["visible-delay"] && !given["link-delay"] {
		w.Delays = nil
	}
	if !given["lag"] {
		w.Lag = nil
	}
	if !given["quota"] {
		w.Quota = nil
	}
	switch stale {
	case "":
	case "on", "off":
		w.Stale = new(bool)
		*w.Stale = stale == "on"
	default:
		return errors.New("-stale is on or off")
	}
	if *w == (trouble{Left: w.Left}) {
		return errors.New("inject needs a -code, a -status, a -delay, -after, or what the cloud is to be like (enilab inject -h)")
	}
	return nil
}

// tell makes the cloud what the trouble says.
func (w *trouble) tell(v *vpcsim.VPC) error {
	if w.Fault != nil {
		v.Inject(*w.Fault)
	}
	if w.Bucket != nil {
		v.Throttle(*w.Bucket)
	}
	if w.Delays != nil {
		v.SetDelays(*w.Delays)
	}
	if w.Lag != nil {
		v.LagMetadata(*w.Lag)
	}
	if w.Stale != nil {
		v.StaleMetadata(*w.Stale)
	}
	if w.Quota != nil {
		v.SetENIQuota(*w.Quota)
	}
	if w.Fill != "" {
		if err := v.FillSubnet(w.Fill, w.Left); err != nil {
			return err
		}
	}
	if w.Fragment != "" {
		return v.FragmentSubnet(w.Fragment)
	}
	return nil
}

// order is something that is done behind the back of those who use the cloud's API.
type order struct {
	Doing string `json:"doing"`
	What  string `json:"what"`
}

// meddle does it.
func meddle(args []string, _ io.Writer) error {
	set, name := flags("meddle")
	found, err := operands(set, args)
	if err != nil {
		return err
	}
	if len(found) != 2 {
		return errors.New("meddle needs remove and an ADDRESS, detach or delete and an ENI, or terminate and a NODE")
	}
	s, err := stateOf(*name)
	if err != nil {
		return err
	}
	return s.call(http.MethodPost, "/meddle", order{found[0], found[1]}, nil)
}

func (h *holder) meddle(o order) error {
	switch o.Doing {
	case "remove":
		ip, err := netip.ParseAddr(o.What)
		if err != nil {
			return err
		}
		return h.lab.VPC.RemoveAddress(ip)
	case "detach":
		return h.lab.VPC.DetachENI(o.What)
	case "delete":
		return h.lab.VPC.DeleteENI(o.What)
	case "terminate":
		n := h.lab.Node(o.What)
		if n == nil {
			return fmt.Errorf("lab %s has no node %q", h.state.name, o.What)
		}
		return h.lab.VPC.Terminate(n.InstanceID)
	}
	return fmt.Errorf("%q is none of remove, detach, delete, terminate", o.Doing)
}
