package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

const tmuxLimit = 10 * time.Second // for one command of tmux

// screen is a terminal of tmux, in a server of its own, with a program in it.
type screen struct {
	ctx  context.Context
	lab  *lab
	tmux string
	life int
}

// openScreen finds tmux, which there must be.
func (l *lab) openScreen() (*screen, error) {
	path, err := exec.LookPath("tmux")
	if err != nil {
		return nil, fmt.Errorf("what people type cannot be tested: %w; install tmux", err)
	}
	return &screen{ctx: l.ctx, lab: l, tmux: path}, nil
}

// do runs a command of tmux.
func (s *screen) do(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(s.ctx, tmuxLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, s.tmux, append([]string{"-u", "-L", "chat", "-f", os.DevNull}, args...)...)
	cmd.Dir = s.lab.dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + s.lab.dir, "TMUX_TMPDIR=" + s.lab.dir, "LC_ALL=C.UTF-8", "TERM=xterm-256color", "SHELL=/bin/sh"}
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("tmux %q: %w: %s", args, err, strings.TrimSpace(errs.String()))
	}
	return string(out), nil
}

// path is a file of this life of the screen.
func (s *screen) path(name string) string {
	return filepath.Join(s.lab.dir, fmt.Sprintf("screen%d.%s", s.life, name))
}

// start runs a program on the screen, of that size. What state the terminal was
// in before and after it, and the status it ended with, goes into files, and all
// that it writes too.
func (s *screen) start(width, height int, a *actor) error {
	s.life++
	script := fmt.Sprintf("cd %s && stty -g >%s && %s; status=$?; stty -g >%s; echo \"over: $status\"; echo $status >%s.new; mv %[5]s.new %[5]s; sleep 3600",
		quote(s.lab.dir), quote(s.path("before")), quote(append([]string{a.path}, a.args...)...), quote(s.path("after")), quote(s.path("status")))
	_, err := s.do("new-session", "-d", "-s", s.name(), "-x", strconv.Itoa(width), "-y", strconv.Itoa(height), script,
		";", "pipe-pane", "-t", s.name(), "cat >"+quote(s.path("raw")))
	return err
}

func (s *screen) name() string { return fmt.Sprintf("life%d", s.life) }

// quote makes words of a shell's command line.
func quote(words ...string) string {
	var quoted []string
	for _, w := range words {
		quoted = append(quoted, "'"+strings.ReplaceAll(w, "'", `'\''`)+"'")
	}
	return strings.Join(quoted, " ")
}

// stop ends the server and what runs in it, also when the lab was interrupted.
func (s *screen) stop() error {
	s.ctx = context.WithoutCancel(s.ctx)
	_, err := s.do("kill-server")
	return err
}

// press sends keys by their names.
func (s *screen) press(keys ...string) error {
	_, err := s.do(append([]string{"send-keys", "-t", s.name()}, keys...)...)
	return err
}

// write types text.
func (s *screen) write(text string) error {
	_, err := s.do("send-keys", "-t", s.name(), "-l", "--", text)
	return err
}

// shows returns the lines on the screen and above it, without the empty ones at
// the end. The last one is what is being typed.
func (s *screen) shows() ([]string, error) {
	out, err := s.do("capture-pane", "-p", "-S", "-", "-t", s.name())
	if err != nil {
		return nil, err
	}
	var lines []string
	for text := range strings.Lines(strings.TrimRight(out, "\n ")) {
		lines = append(lines, strings.TrimRight(text, "\n "))
	}
	return lines, nil
}

// await waits until the screen is as wanted, and returns its lines.
func (s *screen) await(limit time.Duration, what string, want func(lines []string) bool) ([]string, error) {
	for begun := time.Now(); ; {
		lines, err := s.shows()
		if err != nil {
			return nil, err
		}
		if want(lines) {
			return lines, nil
		}
		if time.Since(begun) > limit {
			return lines, fmt.Errorf("the screen does not show %s within %v", what, limit)
		}
		if err := s.lab.pause(20 * time.Millisecond); err != nil {
			return nil, err
		}
	}
}

// typing waits until the last line is what is being typed.
func (s *screen) typing(prompt, typed string) error {
	want := strings.TrimRight(prompt+typed, " ")
	lines, err := s.await(soon, fmt.Sprintf("%q as its last line", want), func(lines []string) bool { return last(lines) == want })
	if err != nil {
		return fmt.Errorf("%w, but %q", err, last(lines))
	}
	return nil
}

func last(lines []string) string {
	if len(lines) == 0 {
		return ""
	}
	return lines[len(lines)-1]
}

// over waits until the program has ended, in order and with the terminal as it
// was. It returns how long that took.
func (s *screen) over() (time.Duration, error) {
	begun := time.Now()
	for {
		status, err := os.ReadFile(s.path("status"))
		if err == nil {
			if got := strings.TrimSpace(string(status)); got != "0" {
				return 0, fmt.Errorf("the chat ended with status %s, want 0", got)
			}
			break
		}
		if !errors.Is(err, os.ErrNotExist) {
			return 0, err
		}
		if time.Since(begun) > quitLimit {
			return 0, fmt.Errorf("the chat has not ended within %v", quitLimit)
		}
		if err := s.lab.pause(10 * time.Millisecond); err != nil {
			return 0, err
		}
	}
	took := time.Since(begun)
	before, err := os.ReadFile(s.path("before"))
	if err != nil {
		return 0, err
	}
	after, err := os.ReadFile(s.path("after"))
	if err != nil {
		return 0, err
	}
	if !bytes.Equal(before, after) {
		return 0, fmt.Errorf("the terminal was %s and is left as %s", bytes.TrimSpace(before), bytes.TrimSpace(after))
	}
	// What comes next begins a line of its own.
	lines, err := s.await(soon, `"over: 0" as a line of its own`, func(lines []string) bool { return last(lines) == "over: 0" })
	if err != nil {
		return 0, fmt.Errorf("%w, but %q", err, last(lines))
	}
	flags, err := s.do("display-message", "-p", "-t", s.name(), "#{cursor_flag} #{alternate_on} #{mouse_any_flag}")
	if err != nil {
		return 0, err
	}
	if got := strings.TrimSpace(flags); got != "1 0 0" {
		return 0, fmt.Errorf("cursor, alternate screen and mouse are left as %s, want 1 0 0", got)
	}
	return took, nil
}

// print gives the screen.
func (s *screen) print() {
	s.ctx = context.WithoutCancel(s.ctx)
	if lines, err := s.shows(); err == nil {
		fmt.Printf("---- the screen of life %d\n%s\n", s.life, strings.Join(lines, "\n"))
	}
}
