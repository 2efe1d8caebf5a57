package main

import (
	"errors"
	"os"
	"runtime"
	"runtime/pprof"
)

// profiles are the files that profiles go to; empty: none is taken.
type profiles struct{ cpu, allocs string }

// allocRate is how many bytes of allocation there are to one sample.
const allocRate = 1 << 10

// begin starts to take the profiles; finish writes them.
func (p profiles) begin() (finish func() error, err error) {
	if p.allocs != "" {
		runtime.MemProfileRate = allocRate
	}
	if p.cpu == "" {
		return p.writeAllocs, nil
	}
	f, err := os.Create(p.cpu)
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() error {
		pprof.StopCPUProfile()
		return errors.Join(f.Close(), p.writeAllocs())
	}, nil
}

func (p profiles) writeAllocs() error {
	if p.allocs == "" {
		return nil
	}
	f, err := os.Create(p.allocs)
	if err != nil {
		return err
	}
	runtime.GC() // the profile is as old as the last collection
	return errors.Join(pprof.Lookup("allocs").WriteTo(f, 0), f.Close())
}
