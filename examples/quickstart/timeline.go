package main

import (
	"fmt"
	"io"
	"time"
)

// timeline prints what happened, when, and how long each step took.
type timeline struct {
	w           io.Writer
	begun, last time.Time
}

func newTimeline(w io.Writer) *timeline {
	now := time.Now()
	return &timeline{w: w, begun: now, last: now}
}

func (t *timeline) step(format string, args ...any) {
	now := time.Now()
	fmt.Fprintf(t.w, "%8.3fs  +%7.1f ms  %s\n", now.Sub(t.begun).Seconds(), float64(now.Sub(t.last).Microseconds())/1000, fmt.Sprintf(format, args...))
	t.last = now
}

func (t *timeline) end(what string) {
	fmt.Fprintf(t.w, "%8.3fs  %s\n", time.Since(t.begun).Seconds(), what)
}
