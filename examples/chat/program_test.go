package main

import (
	"bufio"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/gocarrier/carrier"
)

// ran is a program that runs in this process, on real sockets and files.
type ran struct {
	in     *os.File
	out    *bufio.Reader
	err    string // path of what it says on standard error
	status chan int
}

func runProgram(t *testing.T, args ...string) *ran {
	t.Helper()
	stdin, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	out, stdout, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	stderr, err := os.Create(filepath.Join(t.TempDir(), "stderr"))
	if err != nil {
		t.Fatal(err)
	}
	r := &ran{in: in, out: bufio.NewReader(out), err: stderr.Name(), status: make(chan int, 1)}
	t.Cleanup(func() { in.Close(); out.Close() })
	go func() {
		status := program(args, stdin, stdout, stderr)
		stdin.Close()
		stdout.Close()
		stderr.Close()
		r.status <- status
	}()
	return r
}

// ends waits for the end, and returns the status, with what was said.
func (r *ran) ends(t *testing.T) (status int, out, stderr string) {
	t.Helper()
	select {
	case status = <-r.status:
	case <-time.After(15 * time.Second):
		t.Fatal("the program does not end")
	}
	rest, _ := io.ReadAll(r.out) // what it reads of a closed pipe is nothing
	said, err := os.ReadFile(r.err)
	if err != nil {
		t.Fatal(err)
	}
	return status, string(rest), string(said)
}

func here(dir string, more ...string) []string {
	return append([]string{"-dir", dir, "-listen", "127.0.0.1:0", "-bootstrap", "none"}, more...)
}

// TestProgram: a program that is told nothing prints nothing and exits 0; the
// name of a later start counts; nothing is on standard error without -v.
func TestProgram(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, name := range []string{"Alice", "Alicia"} {
		r := runProgram(t, here(dir, "-name", name)...)
		if _, err := io.WriteString(r.in, "/me\n/requests"); err != nil { // the last line has no end
			t.Fatal(err)
		}
		r.in.Close()
		status, out, stderr := r.ends(t)
		if status != 0 || stderr != "" || !regexp.MustCompile(`^id: \w+\naddress: \w+\nend\n$`).MatchString(out) {
			t.Errorf("status %d, %q, and %q on standard error", status, out, stderr)
		}
	}
	node, err := carrier.Start(t.Context(), carrier.Config{Dir: dir, Listen: "127.0.0.1:0", NoBootstrap: true})
	if err != nil {
		t.Fatal(err)
	}
	defer node.Close()
	if got := node.Profile().Name; got != "Alicia" {
		t.Errorf("the name is %q, want that of the later start", got)
	}
}

// TestProgramTwice: a second program on one directory says what to do, soon, and
// the first goes on.
func TestProgramTwice(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first := runProgram(t, here(dir)...)
	if _, err := io.WriteString(first.in, "/me\n"); err != nil {
		t.Fatal(err)
	}
	if line, err := first.out.ReadString('\n'); err != nil || !strings.HasPrefix(line, "id: ") {
		t.Fatalf("%q, %v", line, err)
	}
	begun := time.Now()
	status, out, stderr := runProgram(t, here(dir)...).ends(t)
	if took := time.Since(begun); status != 1 || out != "" || !strings.Contains(stderr, "in use") || !strings.Contains(stderr, "directory of its own") || took > 5*time.Second {
		t.Errorf("status %d after %v, %q, and %q on standard error", status, took, out, stderr)
	}
	if _, err := io.WriteString(first.in, "/requests\n/quit\n"); err != nil {
		t.Fatal(err)
	}
	if status, out, _ := first.ends(t); status != 0 || !strings.HasSuffix(out, "end\n") {
		t.Errorf("the first: status %d, %q", status, out)
	}
}

// TestProgramOutputClosed: without a reader it ends in order, and not by SIGPIPE.
// The program is this test in a process of its own.
func TestProgramOutputClosed(t *testing.T) {
	const variable = "CHAT_TEST_DIR"
	if dir := os.Getenv(variable); dir != "" {
		os.Exit(program(here(dir), os.Stdin, os.Stdout, os.Stderr))
	}
	t.Parallel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	out, stdout, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stdout.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
	defer cancel()
	var stderr strings.Builder
	cmd := exec.CommandContext(ctx, self, "-test.run=^TestProgramOutputClosed$")
	cmd.Env = append(os.Environ(), variable+"="+t.TempDir())
	cmd.Stdout, cmd.Stderr = stdout, &stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close() // after the end: it is the output that ends the program
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(in, "/me\n"); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil || stderr.String() != "" {
		t.Errorf("it ends with %v, and %q on standard error", err, stderr.String())
	}
}

func TestProgramWrong(t *testing.T) {
	t.Parallel()
	blocked := t.TempDir()
	if err := os.WriteFile(filepath.Join(blocked, shelfDir), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		args   []string
		status int
		says   string
	}{
		{[]string{"-h"}, 0, "-max-file"},
		{nil, 2, "-dir DIR"},
		{[]string{"-nope"}, 2, "-nope"},
		{here(t.TempDir(), "-name", strings.Repeat("x", 65)), 1, "too long"},
		{here(blocked), 1, "move what is at"},
		{[]string{"-dir", t.TempDir(), "-listen", "nonsense"}, 1, "nonsense"},
	} {
		if status, out, stderr := runProgram(t, test.args...).ends(t); status != test.status || out != "" || !strings.Contains(stderr, test.says) {
			t.Errorf("%q: status %d, %q, and %q on standard error; want status %d, and %q", test.args, status, out, stderr, test.status, test.says)
		}
	}
}
