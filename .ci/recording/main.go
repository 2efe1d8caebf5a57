// Command recording makes docs/chat.svg: it runs examples/bootstrap and, in two
// terminals, examples/chat, types what Alice and Bob type, and draws what the
// terminals show. Nothing in it is staged but the keys; pauses of more than
// 1.5 s are shortened. It needs tmux, Go, and a free UDP port.
//
//	go -C .ci/recording run .
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

func main() {
	out := flag.String("o", "../../docs/chat.svg", "`file` to write")
	root := flag.String("root", "../..", "`directory` of the repository")
	listen := flag.String("listen", "127.0.0.1:6881", "`host:port` of the bootstrap node")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := record(ctx, *root, *listen, *out); err != nil {
		fmt.Fprintln(os.Stderr, "recording:", err)
		os.Exit(1)
	}
}

func record(ctx context.Context, root, listen, out string) (err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	dir, err := os.MkdirTemp("/var/tmp", "c") // its name is seen
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	bin := filepath.Join(dir, "bin")
	for _, program := range []string{"bootstrap", "chat"} {
		build := exec.CommandContext(ctx, "go", "build", "-C", root, "-o", filepath.Join(bin, program), "./examples/"+program)
		if text, err := build.CombinedOutput(); err != nil {
			return fmt.Errorf("build %s: %w: %s", program, err, text)
		}
	}
	end, err := bootstrap(bin, listen)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, end()) }()

	t := &tmux{socket: filepath.Join(dir, "tmux")}
	defer func() { err = errors.Join(err, t.close()) }()
	for _, name := range []string{"alice", "bob"} {
		home := filepath.Join(dir, name)
		if err := os.Mkdir(home, 0o700); err != nil {
			return err
		}
		if err := t.open(ctx, name, home, bin+":/usr/bin:/bin"); err != nil {
			return err
		}
	}
	if err := photo(filepath.Join(dir, "bob", "pike.jpg")); err != nil {
		return err
	}
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		t.watch(ctx)
	}()
	s := &story{t: t, ctx: ctx}
	s.tell(listen)
	time.Sleep(5 * lookEach)
	cancel()
	<-watched
	if err := errors.Join(s.err, t.failed); err != nil {
		return err
	}
	return os.WriteFile(out, render([]string{"Alice", "Bob"}, t.frames), 0o644)
}

// bootstrap starts the node where the two begin, and waits until it is up.
func bootstrap(bin, listen string) (end func() error, err error) {
	cmd := exec.Command(filepath.Join(bin, "bootstrap"), "-listen", listen)
	cmd.Stderr = os.Stderr
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(pipe).ReadString('\n')
	if err == nil && line != "bootstrap: "+listen+"\n" {
		err = fmt.Errorf("bootstrap printed %q", line)
	}
	end = func() error {
		_ = cmd.Process.Signal(os.Interrupt) // Wait says whether it had ended
		return cmd.Wait()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start the bootstrap node: %w", err), end())
	}
	return end, nil
}

// photo makes a file of 48 MiB, the same in every recording.
func photo(path string) error {
	b := make([]byte, 48<<20)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(b) // never fails
	return os.WriteFile(path, b, 0o600)
}

// story is what the two do. After the first failure nothing more happens.
type story struct {
	t   *tmux
	ctx context.Context
	err error
}

func (s *story) types(who, text string) {
	if s.err == nil {
		s.err = s.t.types(s.ctx, who, text)
	}
}

func (s *story) enters(who, text string) {
	s.types(who, text)
	s.enter(who)
}

func (s *story) enter(who string) {
	if s.err == nil {
		s.err = s.t.enters(s.ctx, who)
	}
	s.rests(200 * time.Millisecond)
}

func (s *story) pastes(who, text string) {
	if s.err == nil {
		s.err = s.t.pastes(s.ctx, who, text)
	}
}

// sees waits for something on a screen and returns what its group matched.
func (s *story) sees(who, pattern string) string {
	if s.err != nil {
		return ""
	}
	found, err := s.t.shows(s.ctx, who, pattern)
	s.err = err
	if len(found) < 2 {
		return ""
	}
	return found[1]
}

// rests lets the watcher of the recording read.
func (s *story) rests(d time.Duration) {
	if s.err == nil {
		time.Sleep(d)
	}
}

func (s *story) tell(first string) {
	const alice, bob = "alice", "bob"
	start := func(who string) {
		s.enters(who, `chat -dir . -name `+strings.ToUpper(who[:1])+who[1:]+` \`)
		s.enters(who, "  -listen 127.0.0.1:0 -bootstrap "+first)
	}
	s.sees(alice, `^\$$`)
	s.sees(bob, `^\$$`)
	start(alice)
	start(bob)
	s.sees(alice, "the network is there")
	s.sees(bob, "the network is there")
	address := s.sees(bob, `^([1-9A-HJ-NP-Za-km-z]{50,})$`)
	s.rests(time.Second)

	s.types(alice, "/add ")
	s.pastes(alice, address)
	s.enters(alice, " hi Bob, it's Alice")
	id := s.sees(bob, `/accept (\S+)`)
	s.rests(time.Second)
	s.enters(bob, "/accept "+id)
	s.sees(alice, "is a friend now")
	s.sees(alice, "is online")
	s.enters(alice, "/label "+s.sees(alice, `/label (\S+)`)+" Bob")
	s.enters(bob, "/label "+id+" Alice")

	s.enters(alice, "did you catch anything?")
	s.sees(bob, "catch anything")
	s.types(bob, "a pike! ")
	s.enters(alice, "I'll put the pan on the fire") // while Bob is writing
	s.sees(bob, "on the fire")
	s.enters(bob, "wait for the photo")
	s.sees(alice, "the photo")
	s.rests(500 * time.Millisecond)
	s.enters(bob, "/send Alice pike.jpg")
	s.sees(alice, "SHA-256")
	s.rests(1500 * time.Millisecond)
	s.enters(alice, "/friends")
	s.sees(alice, `online +lan`)
	s.rests(1500 * time.Millisecond)

	s.enters(bob, "/quit")
	s.sees(alice, "is offline")
	s.enters(alice, "dinner at eight, bring a knife")
	s.sees(alice, "left for Bob")
	s.rests(time.Second)
	s.enters(alice, "/quit")
	s.sees(alice, `^\$$`)
	s.rests(time.Second)
	start(bob)
	s.sees(bob, "bring a knife")
	s.rests(time.Second)
}
