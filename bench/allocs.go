package main

import (
	"context"
	"runtime"
	"slices"
	"strings"
)

// dataPath are the functions in or below which all is done that carrier does
// for a stream's bytes. What the nodes' DHT does meanwhile is not among it.
func dataPath() []string {
	return []string{
		"github.com/gocarrier/carrier.(*Stream).",
		"github.com/gocarrier/carrier/transport.(*Link).",
		"github.com/gocarrier/carrier/transport.(*Lane).",
		"github.com/gocarrier/carrier/transport.(*Transport).HandleData",
		"github.com/gocarrier/carrier/internal/session.",
		"github.com/xtaci/smux.",
	}
}

// dataAllocs carries size bytes and counts what the data path allocates
// meanwhile and the packets that both ends send. Every allocation is noted, so
// it is slow; runtime.MemProfileRate must be 1 from the program's start.
func dataAllocs(ctx context.Context, p pair, size int64) (allocs int64, packets uint64, err error) {
	before := dataPathObjects()
	r, err := carry(ctx, p, size, nil)
	if err != nil {
		return 0, 0, err
	}
	return dataPathObjects() - before, r.packets, nil
}

// dataPathObjects is how many objects the data path has allocated so far.
func dataPathObjects() (n int64) {
	runtime.GC() // the profile is as old as the last collection but one
	runtime.GC()
	path := dataPath()
	var records []runtime.MemProfileRecord
	for {
		size, ok := runtime.MemProfile(records, true)
		if ok {
			records = records[:size]
			break
		}
		records = make([]runtime.MemProfileRecord, size+size/4)
	}
	for i := range records {
		if holds(records[i].Stack(), path) {
			n += records[i].AllocObjects
		}
	}
	return n
}

// holds reports whether a function of stack begins with one of the names.
func holds(stack []uintptr, names []string) bool {
	frames := runtime.CallersFrames(stack)
	for {
		frame, more := frames.Next()
		if slices.ContainsFunc(names, func(f string) bool { return strings.HasPrefix(frame.Function, f) }) {
			return true
		}
		if !more {
			return false
		}
	}
}
