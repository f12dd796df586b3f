package drivertest

import (
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/enichain/enichain/cloud"
	"github.com/enichain/enichain/test/vpcsim"
)

// Simulated is an account of a cloud that package vpcsim simulates, with an instance that is asked about.
type Simulated struct {
	*vpcsim.VPC
	Instance vpcsim.Instance
	Changes  []string               // the actions that change something
	Codes    map[cloud.Class]string // the cloud's codes of refusals
	// Tasks says that changes run on after they were answered; Bound is World's. A cloud with tasks keeps the time of an ENI's
	// creation.
	Tasks, Bound bool
	Gateway6     netip.Addr // of every subnet that has IPv6
}

// World returns what a conformance test needs of the account; what only the cloud's own test can know is for that to add.
func (s *Simulated) World(d cloud.Driver) *World {
	const step = 300 * time.Millisecond
	return &World{
		Driver: d, Bound: s.Bound, Secrets: s.Secrets(),
		Held:       func() []cloud.ENI { return s.Held(false) },
		All:        s.All,
		Slow:       func() { s.SetDelays(vpcsim.Delays{Create: step, Attach: step, Detach: step, Visible: step}) },
		Hide:       func() { s.SetDelays(vpcsim.Delays{Visible: time.Second}) },
		FillSubnet: s.FillSubnet,
		Detach: func(eni string) error {
			s.settle()
			return s.DetachENI(eni)
		},
		FreezeMetadata: func() { s.StaleMetadata(true) },
		Fail:           s.fail,
		Recover:        s.ClearFaults,
		LoseAnswer: func() {
			for _, action := range s.Changes {
				s.Inject(vpcsim.Fault{Action: action, AfterEffect: true})
			}
		},
	}
}

// Secrets are what no error may tell.
func (s *Simulated) Secrets() []string {
	return []string{s.Keys().SecretAccessKey, s.Role().SecretAccessKey, s.Role().Token}
}

// fail makes the cloud refuse changes, and quote secrets.
func (s *Simulated) fail(class cloud.Class) {
	for _, action := range s.Changes {
		s.Inject(vpcsim.Fault{
			Action: action, Code: s.Codes[class], Times: -1,
			Message: "you sent " + s.Role().Token + " signed with " + s.Role().SecretAccessKey,
		})
	}
}

// settle waits until no task is at work.
func (s *Simulated) settle() {
	if s.Tasks {
		s.Wait()
	}
}

// Held is what the instance's ENIs hold in truth, in the API's words or in the metadata service's.
func (s *Simulated) Held(metadata bool) []cloud.ENI {
	s.settle()
	return s.contract(s.ENIs(s.Instance.ID), metadata)
}

// All is every ENI of the account, in truth.
func (s *Simulated) All() []cloud.ENI {
	s.settle()
	return s.contract(s.AllENIs(), false)
}

func (s *Simulated) contract(all []vpcsim.ENI, metadata bool) []cloud.ENI {
	var enis []cloud.ENI
	for _, e := range all {
		c := cloud.ENI{
			ID: e.ID, MAC: e.MAC.String(), DeviceIndex: e.DeviceIndex, Primary: e.InstanceID != "" && e.DeviceIndex == 0,
			SubnetID: e.SubnetID, PrimaryIP: e.PrimaryIP, Addresses: e.Secondary, Prefixes: append(e.Prefixes, e.Prefixes6...), PrimaryIP6: e.PrimaryIP6, IPv6: e.IPv6,
		}
		if metadata {
			c.Subnet, c.Gateway, c.Subnet6 = e.Subnet, e.Gateway(), e.Subnet6
			if e.Subnet6.IsValid() {
				c.Gateway6 = s.Gateway6
			}
		} else {
			c.State, c.InstanceID, c.DeleteOnTermination = cloud.ENIState(e.State), e.InstanceID, s.Bound && e.DeleteOnTermination
			c.SecurityGroups, c.Tags = e.SecurityGroups, e.Tags
			if s.Tasks {
				c.Created = e.Created.Truncate(time.Second)
			}
			if created, err := time.Parse(time.RFC3339, e.Tags[cloud.TagCreated]); err == nil {
				c.Created = created
			}
		}
		enis = append(enis, c)
	}
	return enis
}

// Build builds a driver's binary from the folder of its name below cmd/, and returns its path.
func Build(t *testing.T, name string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	cmd := exec.Command("go", "build", "-o", path, "github.com/enichain/enichain/cmd/"+name)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build the driver: %v\n%s", err, out)
	}
	return path
}
