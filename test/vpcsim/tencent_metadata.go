package vpcsim

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"
)

// TencentMetadata returns the handler of Tencent Cloud's metadata service for all instances: the caller's address says
// which one asks. It wants no token, its paths have their case, and its MACs are in upper case.
func (v *VPC) TencentMetadata() http.Handler { return v.byCaller(v.serveTencentMetadata) }

// TencentMetadataFor returns the handler of one instance's metadata service, whoever asks.
func (v *VPC) TencentMetadataFor(instanceID string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { v.serveTencentMetadata(w, r, instanceID) })
}

func (v *VPC) serveTencentMetadata(w http.ResponseWriter, r *http.Request, instanceID string) {
	w.Header().Set("Content-Type", "text/plain")
	if fault := v.fault(IMDS); fault != nil {
		fault.wait(r)
		if fault.AfterEffect {
			panic(http.ErrAbortHandler)
		}
		if fault.Status != 0 {
			refuse(w, fault.Status)
			return
		}
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		refuse(w, http.StatusMethodNotAllowed)
		return
	}
	tree, err := v.tencentMetadata(instanceID)
	if err != nil {
		refuse(w, http.StatusNotFound)
		return
	}
	text, ok := lookUp(tree, strings.Trim(r.URL.Path, "/"))
	if !ok {
		refuse(w, http.StatusNotFound)
		return
	}
	_, _ = w.Write([]byte(text))
}

// tencentMetadata is everything that an instance's metadata service knows, by path ("Viewing instance metadata" of the CVM
// documents). ENI IDs, device indexes and the VPC's ranges are not among it.
func (v *VPC) tencentMetadata(instanceID string) (map[string]string, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	i, err := v.instanceByID(instanceID)
	if err != nil {
		return nil, err
	}
	tree := map[string]string{}
	set := func(path, value string) { tree["latest/meta-data/"+path] = value }
	set("instance-id", i.ID)
	set("uuid", "00000000-0000-4000-8000-"+mac12(i.ID))
	set("instance/instance-type", i.Type)
	set("placement/region", v.region)
	set("placement/zone", v.zone)
	set("app-id", tencentAppID)
	for _, e := range v.seen(instanceID) {
		if e.DeviceIndex == 0 {
			set("mac", upperMAC(e.MAC))
			set("local-ipv4", e.PrimaryIP.String())
		}
		v.describeTencentMAC(e, set)
	}
	if v.roleName != "" {
		set("cam/security-credentials/"+v.roleName, v.camCredentials())
	}
	return tree, nil
}

func upperMAC(mac net.HardwareAddr) string { return strings.ToUpper(mac.String()) }

// mac12 makes the last group of a UUID of an ID.
func mac12(id string) string { return hexHash([]byte(id))[:12] }

func (v *VPC) describeTencentMAC(e ENI, set func(path, value string)) {
	folder := "network/interfaces/macs/" + upperMAC(e.MAC) + "/"
	for key, value := range map[string]string{
		"mac": upperMAC(e.MAC), "primary-local-ipv4": e.PrimaryIP.String(), "vpc-id": v.vpcID, "subnet-id": e.SubnetID, "owner-id": tencentAppID,
	} {
		set(folder+key, value)
	}
	mask := net.IP(net.CIDRMask(e.Subnet.Bits(), 32)).String()
	for _, ip := range append([]netip.Addr{e.PrimaryIP}, e.Secondary...) {
		if v.tencent.state(ip.String()) == "PENDING" {
			continue
		}
		for key, value := range map[string]string{"gateway": e.Gateway().String(), "local-ipv4": ip.String(), "subnet-mask": mask} {
			set(folder+"local-ipv4s/"+ip.String()+"/"+key, value)
		}
	}
}

// camCredentials is the document of the instance's role; mu is held.
func (v *VPC) camCredentials() string {
	until := v.roleUntil()
	return jsonText(map[string]any{
		"TmpSecretId": v.role.AccessKeyID, "TmpSecretKey": v.role.SecretAccessKey, "Token": v.role.Token,
		"ExpiredTime": until.Unix(), "Expiration": until.Format(time.RFC3339), "Code": "Success",
	})
}

// tencentAppID is the account's.
const tencentAppID = "1250000000"
