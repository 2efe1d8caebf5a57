package main

import (
	"context"
	"errors"
	"fmt"
	"hash"
	"io"
	"runtime"
	"time"
)

// block is how much is written, and at most read, by one call.
const block = 64 << 10

// pair is two ends that are connected.
type pair interface {
	// stream opens a stream: what is written to w comes out of r.
	stream(ctx context.Context) (w writer, r io.ReadCloser, err error)
	// packets counts what both ends have sent; 0: that is not known.
	packets() uint64
	close()
}

// writer is a stream's writing end. CloseWrite ends it, so that the reader gets
// io.EOF after what was written.
type writer interface {
	io.WriteCloser
	CloseWrite() error
}

// result is what carrying some bytes has cost, both ends together.
type result struct {
	bytes   int64
	took    time.Duration
	cpu     time.Duration
	allocs  uint64
	packets uint64
}

// speed is in MB/s, cost in seconds of CPU time a GB.
func (r result) speed() float64       { return float64(r.bytes) / 1e6 / r.took.Seconds() }
func (r result) cost() float64        { return r.cpu.Seconds() / (float64(r.bytes) / 1e9) }
func (r result) allocsPerMB() float64 { return float64(r.allocs) / (float64(r.bytes) / 1e6) }

// carry takes size bytes through one new stream. sum, if it is not nil, gets
// what arrives.
func carry(ctx context.Context, p pair, size int64, sum hash.Hash) (_ result, err error) {
	w, r, err := p.stream(ctx)
	if err != nil {
		return result{}, err
	}
	stop := context.AfterFunc(ctx, func() { _ = w.Close(); _ = r.Close() }) // ends the calls below
	defer stop()
	defer func() { err = errors.Join(err, w.Close(), r.Close()) }()
	data, buffer := pattern(), make([]byte, block)

	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	packets, cpu, begun := p.packets(), cpuTime(), time.Now()
	written := make(chan error, 1)
	go func() {
		left := size
		for left > 0 {
			n, err := w.Write(data[:min(left, block)])
			if left -= int64(n); err != nil {
				written <- err
				return
			}
		}
		written <- w.CloseWrite()
	}()
	var got int64
	for {
		n, err := r.Read(buffer)
		got += int64(n)
		if sum != nil {
			sum.Write(buffer[:n])
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return result{}, errors.Join(err, ctx.Err())
		}
	}
	res := result{bytes: got, took: time.Since(begun), cpu: cpuTime() - cpu}
	if err := <-written; err != nil {
		return result{}, err
	}
	runtime.ReadMemStats(&after)
	res.allocs, res.packets = after.Mallocs-before.Mallocs, p.packets()-packets
	if got != size {
		return result{}, fmt.Errorf("%d bytes have come of %d", got, size)
	}
	return res, nil
}

// pattern is a block of bytes of which no two neighbours at any small distance
// are alike.
func pattern() []byte {
	b := make([]byte, block)
	x := uint32(1)
	for i := range b {
		x = x*1664525 + 1013904223 // Numerical Recipes' generator
		b[i] = byte(x >> 24)
	}
	return b
}
