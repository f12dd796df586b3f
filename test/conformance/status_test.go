package conformance

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/enichain/enichain/test/clouds"
	"github.com/enichain/enichain/test/lab"
)

// STATUS fails for what is structurally wrong only: a node whose STATUS fails is taken out of service. It changes nothing
// and waits for no lock.
func TestStatus(t *testing.T) {
	t.Parallel()
	m := newMachine(t, lab.Options{ENIs: 2})
	everywhere := func(t *testing.T, c conf) {
		t.Helper()
		for _, plugin := range []string{ptpPlugin, ipamPlugin} {
			m.succeed(t, m.call(plugin, "STATUS", "", c))
		}
		m.succeed(t, m.call(snatPlugin, "STATUS", "", c.snat()))
	}
	t.Run("before the first ADD", func(t *testing.T) {
		everywhere(t, static())
		for _, c := range clouds.All() {
			everywhere(t, on(c))
		}
		sh(t, &m.Host, "test ! -e "+dataDir)
	})
	t.Run("with an exhausted pool", func(t *testing.T) {
		one := static().with([]conf{{
			"name": "eth0", "primary": true, "subnet": "10.19.0.0/20", "gateway": "10.19.0.1", "primaryIP": "10.19.0.22",
			"addresses": []string{"10.19.0.100"},
		}}, "ipam", "static", "enis").with(0, "ipam", "firstDeviceIndex")
		m.netns(t, "a")
		m.netns(t, "b")
		m.add(t, "a", one)
		m.fail(t, m.call(ptpPlugin, "ADD", "b", one), 11, "eth0 is full")
		everywhere(t, one)
	})
	t.Run("with the lock held", func(t *testing.T) {
		release := m.holdLock(t)
		everywhere(t, static())
		release()
	})
	t.Run("without the driver", func(t *testing.T) {
		folder := t.TempDir()
		if err := os.Link(bin.Path(ipamPlugin), filepath.Join(folder, ipamPlugin)); err != nil {
			t.Fatal(err)
		}
		for _, plugin := range []string{ptpPlugin, ipamPlugin} {
			for _, c := range clouds.All() {
				call := m.call(plugin, "STATUS", "", on(c))
				call.Env["CNI_PATH"] = folder
				m.fail(t, call, 50, "eni-cloud-"+c.Name, folder)
			}
			m.fail(t, m.call(plugin, "STATUS", "", on(clouds.AWS()).with("nebula", "ipam", "cloud")), 50, "eni-cloud-nebula")
		}
		c := m.call(ptpPlugin, "STATUS", "", on(clouds.AWS()))
		c.Env["CNI_PATH"] = t.TempDir()
		m.fail(t, c, 50, ipamPlugin)
	})
	for name, place := range map[string]string{
		"with a read-only data directory": m.readOnly(t), "with a file for a data directory": m.file(t), "below a file": m.file(t) + "/x",
	} {
		t.Run(name, func(t *testing.T) {
			for _, plugin := range []string{ptpPlugin, ipamPlugin} {
				m.fail(t, m.call(plugin, "STATUS", "", static().with(place, "ipam", "dataDir")), 50, "data directory")
			}
		})
	}
	t.Run("with something else for a store", func(t *testing.T) {
		sh(t, &m.Host, "cp "+dataDir+"/state.db /run/kept; echo else >"+dataDir+"/state.db")
		m.fail(t, m.call(ipamPlugin, "STATUS", "", static()), 50, dataDir+"/state.db")
		sh(t, &m.Host, "mv /run/kept "+dataDir+"/state.db")
		everywhere(t, static())
	})
}

// readOnly is a folder of the machine that root cannot write to either.
func (m *machine) readOnly(t *testing.T) string {
	t.Helper()
	sh(t, &m.Host, "mkdir -p /run/read-only; mount -t tmpfs -o ro,size=64k none /run/read-only")
	return "/run/read-only"
}

// file is a file of the machine.
func (m *machine) file(t *testing.T) string {
	t.Helper()
	sh(t, &m.Host, "touch /run/file")
	return "/run/file"
}
