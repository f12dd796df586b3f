package tencent_test

import (
	"testing"

	"github.com/enichain/enichain/cloud"
	"github.com/enichain/enichain/cloud/drivertest"
)

func TestConformanceInProcess(t *testing.T) {
	t.Parallel()
	drivertest.Run(t, func(t *testing.T) *drivertest.World {
		s := newSite(t)
		return s.world(s.driver(t, nil))
	})
}

func TestConformanceExec(t *testing.T) {
	t.Parallel()
	path := drivertest.Build(t, "eni-cloud-tencent")
	drivertest.Run(t, func(t *testing.T) *drivertest.World {
		s := newSite(t)
		return s.world(&cloud.Exec{Path: path, Config: s.config(t), Env: []string{}})
	})
}
