// Package wire is the side of a client's program in the protocol that ../../programs.py speaks: one line of JSON for a
// request, one for its answer.
package wire

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"
)

// Patience is how long a program tries what it is asked for.
const Patience = 60 * time.Second

// Request is what is to be done; which fields count depends on Do.
type Request struct {
	Do          string            `json:"do"`
	Topic       string            `json:"topic"`
	Partitions  int               `json:"partitions"`
	Configs     map[string]string `json:"configs"`
	Values      []string          `json:"values"`
	Codec       string            `json:"codec"`
	Offset      int64             `json:"offset"`
	TimestampMs int64             `json:"timestamp_ms"`
	Count       int               `json:"count"`
	Group       string            `json:"group"`
	Seconds     float64           `json:"seconds"`
}

// Answer has what was asked for.
type Answer struct {
	Values  []string          `json:"values,omitempty"`
	Configs map[string]string `json:"configs,omitempty"`
}

type line struct {
	Answer
	Error  string `json:"error,omitempty"`
	Cannot string `json:"cannot,omitempty"`
}

// Cannot is the error of a request that the client has no call for.
type Cannot string

func (c Cannot) Error() string { return string(c) }

var input = bufio.NewScanner(os.Stdin)
var output = json.NewEncoder(os.Stdout)

// HalfWritten says that the first half of what is to be written was acknowledged, and returns when the rest may follow.
func HalfWritten() {
	if err := output.Encode(map[string]bool{"half": true}); err != nil {
		panic(err)
	}
	input.Scan()
}

var saying sync.Mutex

// Member is one that reads in a group, until the next line of input, with which ctx ends and it is to leave.
func Member(ctx context.Context, read func(ctx context.Context) error) error {
	ctx, leave := context.WithCancel(ctx)
	told := make(chan struct{})
	go func() {
		input.Scan()
		leave()
		close(told)
	}()
	err := read(ctx)
	<-told
	return err
}

// Read says that a member has read a record.
func Read(partition int, value []byte) {
	saying.Lock()
	defer saying.Unlock()
	if err := output.Encode(map[string][]any{"read": {partition, string(value)}}); err != nil {
		panic(err)
	}
}

// Serve answers requests until the input ends. The first argument of the program names the brokers.
func Serve(do func(context.Context, Request) (Answer, error)) {
	input.Buffer(nil, 64<<20)
	for input.Scan() {
		var request Request
		if err := json.Unmarshal(input.Bytes(), &request); err != nil {
			panic(err)
		}
		patience := Patience
		if request.Seconds > 0 {
			patience = time.Duration(request.Seconds * float64(time.Second))
		}
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		answer, err := do(ctx, request)
		cancel()
		said := line{Answer: answer}
		var cannot Cannot
		if errors.As(err, &cannot) {
			said.Cannot = string(cannot)
		} else if err != nil {
			said.Error = fmt.Sprintf("%T: %v", err, err)
		}
		if err := output.Encode(said); err != nil {
			panic(err)
		}
	}
}

// Brokers returns the addresses that the program was started with.
func Brokers() []string { return strings.Split(os.Args[1], ",") }
