//go:build !windows

package main

import (
	"os"
	"os/signal"
	"syscall"
)

// allowEscapes lets escape sequences work; a terminal here knows them.
func allowEscapes(*os.File) (restore func(), err error) { return func() {}, nil }

// watchSize calls f when the window's size has changed, until it is stopped.
func watchSize(f func()) (stop func()) {
	changed := make(chan os.Signal, 1)
	signal.Notify(changed, syscall.SIGWINCH)
	done := make(chan struct{})
	go func() {
		for {
			select {
			case <-changed:
				f()
			case <-done:
				return
			}
		}
	}()
	return func() { signal.Stop(changed); close(done) }
}
