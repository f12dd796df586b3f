// Command cri asks a container runtime for pods by the CRI, with the client of kubelet (k8s.io/cri-client). Its module pins
// a containerd 2.x too, which the tests build and run.
//
//	cri [-port HOST:CONTAINER] run NAME IMAGE [COMMAND…]   a pod with one container, as JSON
//	cri exec CONTAINER COMMAND…                              what the command prints
//	cri pods                                                 the pods' IDs, a line each
//	cri stop POD, cri remove POD
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"time"

	internalapi "k8s.io/cri-api/pkg/apis"
	v1 "k8s.io/cri-api/pkg/apis/runtime/v1"
	cri "k8s.io/cri-client/pkg"
)

const (
	timeout     = 2 * time.Minute // of one command
	callTimeout = time.Minute     // of one call
	pause       = 20 * time.Millisecond
)

func main() {
	socket := flag.String("socket", "unix:///run/containerd/containerd.sock", "where the runtime listens")
	parent := flag.String("cgroup-parent", "", "where pods' control groups are made")
	port := flag.String("port", "", "a host port and a container's, \"8080:80\"")
	flag.Parse()
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	if err := command(ctx, *socket, pod{cgroupParent: *parent, port: *port}, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "cri:", err)
		os.Exit(1)
	}
}

func command(ctx context.Context, socket string, p pod, args []string) error {
	var runtime internalapi.RuntimeService
	err := await(ctx, func() (err error) { // containerd serves before its CRI plugin does
		runtime, err = cri.NewRemoteRuntimeService(ctx, socket, callTimeout, nil, false)
		return err
	})
	if err != nil {
		return err
	}
	defer func() { _ = runtime.Close(ctx) }() // the process ends
	if len(args) == 0 {
		return errors.New("run, exec, pods, stop or remove?")
	}
	switch verb, args := args[0], args[1:]; {
	case verb == "run" && len(args) >= 2:
		images, err := cri.NewRemoteImageService(ctx, socket, callTimeout, nil, false)
		if err != nil {
			return err
		}
		p.name, p.image, p.command = args[0], args[1], args[2:]
		if err := await(ctx, func() error { return ready(ctx, runtime, images, p.image) }); err != nil {
			return err
		}
		return p.run(ctx, runtime)
	case verb == "exec" && len(args) >= 2:
		stdout, stderr, err := runtime.ExecSync(ctx, args[0], args[1:], callTimeout)
		_, _ = os.Stdout.Write(stdout) // the caller reads it, or does not care
		_, _ = os.Stderr.Write(stderr)
		return err
	case verb == "pods" && len(args) == 0:
		pods, err := runtime.ListPodSandbox(ctx, nil)
		for _, p := range pods {
			fmt.Println(p.Id)
		}
		return err
	case verb == "stop" && len(args) == 1:
		return runtime.StopPodSandbox(ctx, args[0])
	case verb == "remove" && len(args) == 1:
		return runtime.RemovePodSandbox(ctx, args[0])
	}
	return fmt.Errorf("%q is no command", args)
}

// await asks again until the answer is nil, as kubelet does: the CRI has no event for it.
func await(ctx context.Context, ask func() error) error {
	for last := error(nil); ; {
		err := ask()
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return errors.Join(last, err)
		}
		last = err
		time.Sleep(pause)
	}
}

// ready is nil once the runtime and its network are ready and the image is known.
func ready(ctx context.Context, runtime internalapi.RuntimeService, images internalapi.ImageManagerService, image string) error {
	status, err := runtime.Status(ctx, false)
	if err != nil {
		return err
	}
	for _, c := range status.Status.Conditions {
		if !c.Status && (c.Type == v1.RuntimeReady || c.Type == v1.NetworkReady) { // others are advice
			return fmt.Errorf("not ready: %s: %s: %s", c.Type, c.Reason, c.Message)
		}
	}
	found, err := images.ImageStatus(ctx, &v1.ImageSpec{Image: image}, false)
	if err == nil && found.Image == nil {
		err = fmt.Errorf("image %s is not there", image)
	}
	return err
}

// pod is what to run.
type pod struct {
	name, image  string
	command      []string
	cgroupParent string
	port         string
}

// started is a pod that runs.
type started struct {
	ID        string   `json:"id"`
	Container string   `json:"container"`
	IP        string   `json:"ip"`
	More      []string `json:"more"` // the pod's further addresses
}

func (p pod) run(ctx context.Context, runtime internalapi.RuntimeService) error {
	sandbox, err := p.sandbox()
	if err != nil {
		return err
	}
	id, err := runtime.RunPodSandbox(ctx, sandbox, "")
	if err != nil {
		return fmt.Errorf("run the sandbox: %w", err)
	}
	container, err := runtime.CreateContainer(ctx, id, &v1.ContainerConfig{
		Metadata: &v1.ContainerMetadata{Name: p.name},
		Image:    &v1.ImageSpec{Image: p.image, UserSpecifiedImage: p.image},
		Command:  p.command,
		Linux:    &v1.LinuxContainerConfig{},
	}, sandbox)
	if err != nil {
		return fmt.Errorf("create the container: %w", err)
	}
	if err := runtime.StartContainer(ctx, container); err != nil {
		return fmt.Errorf("start the container: %w", err)
	}
	status, err := runtime.PodSandboxStatus(ctx, id, false)
	if err != nil {
		return err
	}
	s := started{ID: id, Container: container, IP: status.Status.Network.GetIp()}
	for _, ip := range status.Status.Network.GetAdditionalIps() {
		s.More = append(s.More, ip.Ip)
	}
	return json.NewEncoder(os.Stdout).Encode(s)
}

func (p pod) sandbox() (*v1.PodSandboxConfig, error) {
	c := &v1.PodSandboxConfig{
		Metadata:     &v1.PodSandboxMetadata{Name: p.name, Namespace: "default", Uid: p.name},
		LogDirectory: "/run/pods/" + p.name,
		Linux:        &v1.LinuxPodSandboxConfig{CgroupParent: p.cgroupParent},
	}
	if p.port == "" {
		return c, nil
	}
	var host, container int32
	if _, err := fmt.Sscanf(p.port, "%d:%d", &host, &container); err != nil {
		return nil, fmt.Errorf("port %q: %w", p.port, err)
	}
	c.PortMappings = []*v1.PortMapping{{Protocol: v1.Protocol_TCP, HostPort: host, ContainerPort: container}}
	return c, nil
}
