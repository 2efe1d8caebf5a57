package main

import (
	"os"
	"syscall"
	"time"
)

const virtualTerminal = 0x0004 // ENABLE_VIRTUAL_TERMINAL_PROCESSING

// allowEscapes lets escape sequences work on a console.
func allowEscapes(out *os.File) (restore func(), err error) {
	var mode uint32
	if err := syscall.GetConsoleMode(syscall.Handle(out.Fd()), &mode); err != nil {
		return nil, err
	}
	set := syscall.NewLazyDLL("kernel32.dll").NewProc("SetConsoleMode")
	if ok, _, err := set.Call(out.Fd(), uintptr(mode|virtualTerminal)); ok == 0 {
		return nil, err
	}
	return func() { _, _, _ = set.Call(out.Fd(), uintptr(mode)) }, nil // or the console is gone
}

// watchSize calls f each second, until it is stopped: there is no signal for a
// changed size.
func watchSize(f func()) (stop func()) {
	tick := time.NewTicker(time.Second)
	done := make(chan struct{})
	go func() {
		for {
			select {
			case <-tick.C:
				f()
			case <-done:
				return
			}
		}
	}()
	return func() { tick.Stop(); close(done) }
}
