package vpcsim

import "time"

// view is what the metadata service says of each instance's ENIs.
type view map[string][]ENI

// pastView is a view since a time.
type pastView struct {
	since time.Time
	view  view
}

// current is what a metadata service that keeps up would say: it knows the ENIs that are attached.
func (v *VPC) current() view {
	w := view{}
	for _, i := range v.instances {
		for _, e := range v.enisOf(i.ID) {
			if e.State == Attached {
				w[i.ID] = append(w[i.ID], e)
			}
		}
	}
	return w
}

// seen is what the metadata service says now; mu is held.
func (v *VPC) seen(instanceID string) []ENI {
	switch {
	case v.stale != nil:
		return v.stale[instanceID]
	case v.lag == 0:
		return v.current()[instanceID]
	}
	var w view
	for _, past := range v.views {
		if time.Since(past.since) < v.lag {
			break
		}
		w = past.view
	}
	return w[instanceID]
}

// changed keeps what a metadata service that lags will say; mu is held. Each change of what is attached ends with it.
func (v *VPC) changed() {
	if v.lag == 0 {
		return
	}
	v.views = append(v.views, pastView{time.Now(), v.current()})
	for len(v.views) > 1 && time.Since(v.views[1].since) >= v.lag {
		v.views = v.views[1:]
	}
}

// StaleMetadata freezes what the metadata service says of ENIs as of now, or lets it follow the API again.
func (v *VPC) StaleMetadata(frozen bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.stale = nil
	if frozen {
		v.stale = v.current()
	}
}

// LagMetadata lets the metadata service tell of changes from now on only so much later.
func (v *VPC) LagMetadata(lag time.Duration) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.lag = lag
	v.views = []pastView{{time.Time{}, v.current()}}
}
