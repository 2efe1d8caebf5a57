//go:build race

package main

import (
	"os"
	"runtime"
	"testing"
)

// TestMain runs the tests on one processor under the race detector: Go up to
// 1.26 crashes when timers of one synctest bubble fire on two at once
// (golang.org/issue/78156).
func TestMain(m *testing.M) {
	runtime.GOMAXPROCS(1)
	os.Exit(m.Run())
}
