package main

import (
	"strings"
	"testing"
)

func TestTencentCloud(t *testing.T) {
	tt := newTool(t)
	if out := tt.must(t, "up", "-cloud", "tencent", "-nodes", "1"); !strings.Contains(out, "a VPC of tencent") || !strings.Contains(out, "52:54:00:") {
		t.Errorf("up printed %s", out)
	}
	for _, want := range []string{
		"export TENCENTCLOUD_VPC_ENDPOINT='http://10.19.255.10'\n", "export NO_PROXY='10.19.255.10,169.254.0.23,metadata.tencentyun.com'\n",
	} {
		if out := tt.must(t, "env", "node1"); !strings.Contains(out, want) {
			t.Errorf("env printed %q, without %q", out, want)
		}
	}
	if out := tt.must(t, "exec", "node1", "--", "head", "-n", "1", "/etc/hosts"); out != "169.254.0.23 metadata.tencentyun.com\n" {
		t.Errorf("/etc/hosts begins with %q", out)
	}
	tt.must(t, "inject", "-action", "Task", "-code", "InternalError")
}
