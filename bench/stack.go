package main

import (
	"context"
	"fmt"
	"os"
	"slices"
)

// stack is one way to carry a stream.
type stack struct {
	name string
	off  []string // environment variables that turn offloads off: set to 1 when it starts
	open func(ctx context.Context) (pair, error)
}

const (
	carrierNoGSO = "CARRIER_NO_GSO"
	quicNoGSO    = "QUIC_GO_DISABLE_GSO"
)

// stacks are those that are compared, in the order of the report.
func stacks() []stack {
	bulk := func(ctx context.Context) (pair, error) { return startCarrier(ctx, true) }
	ordinary := func(ctx context.Context) (pair, error) { return startCarrier(ctx, false) }
	return []stack{
		{"carrier bulk, no GSO", []string{carrierNoGSO}, bulk},
		{"carrier, no GSO", []string{carrierNoGSO}, ordinary},
		{"quic-go, no GSO", []string{quicNoGSO}, startQUIC},
		{"carrier bulk", nil, bulk},
		{"carrier", nil, ordinary},
		{"quic-go", nil, startQUIC},
		{"smux/TLS/TCP", nil, startSmux},
	}
}

// place is where a stack stands in the report.
func place(name string) int {
	return slices.IndexFunc(stacks(), func(s stack) bool { return s.name == name })
}

// start opens the stack's two ends. What the environment says of offloads is
// asked when sockets are opened, so it holds for this pair and no other.
func (s stack) start(ctx context.Context) (pair, error) {
	for _, name := range []string{carrierNoGSO, quicNoGSO} {
		value := "0"
		if slices.Contains(s.off, name) {
			value = "1"
		}
		if err := os.Setenv(name, value); err != nil {
			return nil, fmt.Errorf("set %s: %w", name, err)
		}
	}
	return s.open(ctx)
}
