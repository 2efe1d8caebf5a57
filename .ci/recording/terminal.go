package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	columns  = 62
	rows     = 21
	lookEach = 100 * time.Millisecond
	wordEach = 160 * time.Millisecond // a person who types fast
	patience = 20 * time.Second
)

// tmux is a server of one's own: what it shows is what a terminal would.
type tmux struct {
	socket string
	names  []string

	mu     sync.Mutex
	frames []frame
	failed error
}

// frame is all screens at one moment.
type frame struct {
	at      time.Time
	screens [][]line
}

func (t *tmux) command(ctx context.Context, args ...string) (string, error) {
	out, err := exec.CommandContext(ctx, "tmux", append([]string{"-S", t.socket, "-f", "/dev/null"}, args...)...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("tmux %s: %w: %s", args[0], err, out)
	}
	return string(out), nil
}

// open starts a terminal with a shell in dir.
func (t *tmux) open(ctx context.Context, name, dir, path string) error {
	shell := fmt.Sprintf("env -i PATH='%s' HOME='%s' TERM=tmux-256color LC_ALL=C.UTF-8 PS1='$ ' PS2='> ' sh", path, dir)
	if _, err := t.command(ctx, "new-session", "-d", "-s", name, "-x", fmt.Sprint(columns), "-y", fmt.Sprint(rows), "-c", dir, shell); err != nil {
		return err
	}
	if _, err := t.command(ctx, "set-option", "-g", "status", "off"); err != nil {
		return err
	}
	if _, err := t.command(ctx, "resize-window", "-t", name, "-x", fmt.Sprint(columns), "-y", fmt.Sprint(rows)); err != nil {
		return err
	}
	t.names = append(t.names, name)
	return nil
}

// watch looks at the screens until ctx ends.
func (t *tmux) watch(ctx context.Context) {
	for ctx.Err() == nil {
		if err := t.look(ctx); err != nil && ctx.Err() == nil {
			t.mu.Lock()
			t.failed = err
			t.mu.Unlock()
			return
		}
		time.Sleep(lookEach)
	}
}

const cut = "-- cut --"

func (t *tmux) look(ctx context.Context) error {
	var args []string
	for _, name := range t.names {
		args = append(args, "capture-pane", "-p", "-e", "-t", name, ";",
			"display-message", "-p", "-t", name, "#{cursor_flag} #{cursor_x} #{cursor_y} "+cut, ";")
	}
	out, err := t.command(ctx, args[:len(args)-1]...)
	if err != nil {
		return err
	}
	f := frame{at: time.Now()}
	for screen := range strings.SplitSeq(strings.TrimSuffix(out, cut+"\n"), cut+"\n") {
		var lines []line
		now := plain
		text := strings.Split(strings.TrimRight(screen, "\n"), "\n")
		for _, s := range text[:len(text)-1] {
			var l line
			l, now = parseLine(s, now)
			lines = append(lines, l)
		}
		var shown, x, y int
		if _, err := fmt.Sscan(text[len(text)-1], &shown, &x, &y); err != nil {
			return fmt.Errorf("where is the cursor? %q: %w", text[len(text)-1], err)
		}
		if shown == 1 && y < len(lines) {
			lines[y] = lines[y].mark(x)
		}
		f.screens = append(f.screens, lines)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.frames) == 0 || !same(t.frames[len(t.frames)-1], f) {
		t.frames = append(t.frames, f)
	}
	return nil
}

func same(a, b frame) bool {
	return slices.EqualFunc(a.screens, b.screens, func(a, b []line) bool {
		return slices.EqualFunc(a, b, func(a, b line) bool { return slices.Equal(a, b) })
	})
}

// shows waits until a screen says something, and returns the last place where it
// does.
func (t *tmux) shows(ctx context.Context, name, pattern string) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	find := regexp.MustCompile("(?m)" + pattern)
	for {
		text, err := t.screen(name)
		if err != nil {
			return nil, err
		}
		if found := find.FindAllStringSubmatch(text, -1); found != nil {
			return found[len(found)-1], nil
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("%s's screen does not show %q but\n%s", name, pattern, text)
		case <-time.After(lookEach / 2):
		}
	}
}

func (t *tmux) screen(name string) (string, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.failed != nil {
		return "", t.failed
	}
	if len(t.frames) == 0 {
		return "", nil
	}
	var b strings.Builder
	for _, l := range t.frames[len(t.frames)-1].screens[slices.Index(t.names, name)] {
		b.WriteString(strings.TrimRight(l.text(), " "))
		b.WriteByte('\n')
	}
	return b.String(), nil
}

// types enters a text word by word.
func (t *tmux) types(ctx context.Context, name, text string) error {
	for word := range strings.SplitAfterSeq(text, " ") {
		if err := t.pastes(ctx, name, word); err != nil {
			return err
		}
		time.Sleep(wordEach)
	}
	return nil
}

// pastes enters a text at once.
func (t *tmux) pastes(ctx context.Context, name, text string) error {
	if text == "" {
		return nil
	}
	_, err := t.command(ctx, "send-keys", "-t", name, "-l", "--", text)
	return err
}

// enters ends the line, after a moment in which it can be read.
func (t *tmux) enters(ctx context.Context, name string) error {
	time.Sleep(300 * time.Millisecond)
	_, err := t.command(ctx, "send-keys", "-t", name, "Enter")
	return err
}

// close ends the server and what runs in it.
func (t *tmux) close() error {
	_, err := t.command(context.Background(), "kill-server")
	if err != nil && strings.Contains(err.Error(), "no server running") {
		return nil
	}
	return errors.Join(err)
}
