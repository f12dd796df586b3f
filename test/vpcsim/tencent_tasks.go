package vpcsim

import (
	"bytes"
	"time"
)

// Task is the Action of a Fault that makes a task of Tencent Cloud end FAILED (with a Code) or last longer (with a Delay).
const Task = "Task"

// defaultTaskDelay is how long a task takes where Config says nothing.
const defaultTaskDelay = 20 * time.Millisecond

// tencentTask is the work behind a changing call; its ID is the call's request ID. An ENI has one at a time.
type tencentTask struct {
	eni    string
	status string // RUNNING, SUCCESS, FAILED
	output string
}

// tencentToken is what was done for a ClientToken.
type tencentToken struct {
	action string
	body   []byte
	task   string
	answer any
}

// tencentTasks are a VPC's, guarded by VPC.mu.
type tencentTasks struct {
	delay  time.Duration
	byID   map[string]*tencentTask
	tokens map[string]*tencentToken
	states map[string]string // of addresses and ENIs that are not AVAILABLE, by their text
}

func newTencentTasks(delay time.Duration) tencentTasks {
	if delay == 0 {
		delay = defaultTaskDelay
	}
	return tencentTasks{delay: delay, byID: map[string]*tencentTask{}, tokens: map[string]*tencentToken{}, states: map[string]string{}}
}

// state of an address or an ENI; mu is held.
func (t *tencentTasks) state(of string) string {
	if s, ok := t.states[of]; ok {
		return s
	}
	return "AVAILABLE"
}

// idle says why no task may be started for an ENI; mu is held.
func (t *tencentTasks) idle(eni string) error {
	for _, other := range t.byID {
		if other.eni == eni && other.status == "RUNNING" {
			return errorf("UnsupportedOperation.MutexOperationTaskRunning", "A mutually exclusive task of %s is running.", eni)
		}
	}
	return nil
}

// once makes a repeated call with a ClientToken answer what the first did; the second's request ID names the first's task.
// A token that comes with other parameters is refused. do is called with change held.
func (v *VPC) once(c *tencentCall, token string, do func() (any, error)) (any, error) {
	v.change.Lock()
	defer v.change.Unlock()
	v.mu.Lock()
	known := v.tencent.tokens[token]
	if token != "" && known != nil {
		defer v.mu.Unlock()
		if known.action != c.action || !bytes.Equal(known.body, c.body) {
			return nil, errorf("UnsupportedOperation.IdempotentParameterMismatch", "The ClientToken was used with other parameters.")
		}
		v.tencent.byID[c.requestID] = v.tencent.byID[known.task]
		return known.answer, nil
	}
	v.mu.Unlock()
	answer, err := do()
	if err == nil && token != "" {
		v.mu.Lock()
		defer v.mu.Unlock()
		v.tencent.tokens[token] = &tencentToken{c.action, c.body, c.requestID, answer}
	}
	return answer, err
}

// start begins the task of a call: work is done after a while, with change held, and then settled with its outcome. The
// caller holds change and mu; neither work nor settle is called with mu held.
func (v *VPC) start(c *tencentCall, eni string, delay time.Duration, work func() error, settle func(error)) {
	task := &tencentTask{eni: eni, status: "RUNNING"}
	v.tencent.byID[c.requestID] = task
	delay += v.tencent.delay
	fault := v.hit(Task)
	if fault != nil {
		delay += fault.Delay
	}
	_ = v.later(delay, func() error { // a delay is never 0, and what fails is the task's own affair
		var err error
		if fault != nil {
			err = fault.err()
		}
		if err == nil {
			err = work()
		}
		settle(err)
		v.mu.Lock()
		defer v.mu.Unlock()
		task.status = "SUCCESS"
		if err != nil {
			task.status, task.output = "FAILED", err.Error()
		}
		v.changed()
		return nil
	})
}

type tencentDescribeTaskRequest struct{ TaskId string } //nolint:revive // the API's own spelling

func (v *VPC) tencentDescribeTask(_ *tencentCall, q *tencentDescribeTaskRequest) (any, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	task := v.tencent.byID[q.TaskId]
	if task == nil {
		return nil, errorf("ResourceNotFound", "The task %q does not exist.", q.TaskId)
	}
	return map[string]any{"Status": task.status, "Output": task.output, "Result": nil}, nil
}
