package chain

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// What strace prints, with a call that another thread came between.
func TestParseEfforts(t *testing.T) {
	const log = `10<strace> execve("/opt/cni/bin/eni-ptp", ["/opt/cni/bin/eni-ptp"], ["A=sendto(1<NETLINK:"]) = 0
10<eni-ptp> openat(AT_FDCWD</>, "/proc/sys/x", O_RDONLY|O_CLOEXEC) = 3</proc/sys/x>
10<eni-ptp> openat(AT_FDCWD</>, "/proc/sys/x", O_WRONLY|O_CREAT|O_TRUNC|O_CLOEXEC, 0644) = 3</proc/sys/x>
10<eni-ptp> openat(AT_FDCWD</>, "/proc/sys/net/ipv4", O_RDONLY|O_CLOEXEC|O_PATH|O_DIRECTORY) = 4</proc/sys/net/ipv4>
10<eni-ptp> openat(4</proc/sys/net/ipv4>, "ip_forward", O_RDONLY|O_CLOEXEC) = 5</proc/sys/net/ipv4/ip_forward>
11<eni-ptp> sendto(3<NETLINK:[77]>, [{nlmsg_len=32, nlmsg_type=0x12}, "\x00"], 32, 0, {sa_family=AF_NETLINK}, 12 <unfinished ...>
12<eni-ptp> execve("/opt/cni/bin/eni-cloud-tencent", ["x"], 0x1 <unfinished ...>
11<eni-ptp> <... sendto resumed>) = 32
12<eni-cloud-tence> <... execve resumed>) = 0
12<eni-cloud-tence> openat(AT_FDCWD</>, "/run/enichain/lock", O_RDWR|O_CREAT|O_CLOEXEC, 0600 <unfinished ...>
12<eni-cloud-tence> sendto(7<TCP:[1.2.3.4:5->6.7.8.9:80]>, "nlmsg_len=", 10, 0, NULL, 0) = 10
10<eni-ptp> sendmsg(3<NETLINK:[77]>, {msg_iov=[{iov_base=[{nlmsg_len=20}, {nlmsg_len=36}, {nlmsg_len=20}], iov_len=76}]}, 0) = 76
+++ exited with 0 +++
`
	want := map[string]Effort{
		"eni-ptp":         {Processes: 1, Sends: 2, Messages: 4, Files: []string{"/proc/sys/x"}, Ways: 1},
		"eni-cloud-tence": {Processes: 1, Files: []string{"/run/enichain/lock"}},
	}
	if diff := cmp.Diff(want, parseEfforts(log)); diff != "" {
		t.Error(diff)
	}
}
