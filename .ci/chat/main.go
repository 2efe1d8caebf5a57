// Command chat tests examples/chat and examples/bootstrap from outside: it runs
// them as processes of their own on 127.0.0.0/24 and speaks to them over pipes,
// a terminal, and the network. The script beside it builds all three.
//
//	chat -programs DIR -tmp DIR [-seed N] [-kills N] [-jobs N] [NAME...]
//
// NAME is one of story, kills, apart, terminal, noise and second; none: all.
// What fails prints all that its programs were told and said.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// tools is where the programs are, and how hard they are tried.
type tools struct {
	chat, bootstrap string
	seed            uint64
	kills           int
}

// test is something that the programs must show.
type test struct {
	name  string
	host  int // its addresses are 127.0.0.host+1 and so on
	limit time.Duration
	run   func(*lab) error
}

func tests() []test {
	return []test{
		{"story", 10, 4 * time.Minute, story},
		{"kills", 20, 4 * time.Minute, kills},
		{"apart", 30, 4 * time.Minute, apart},
		{"terminal", 40, 4 * time.Minute, terminal},
		{"noise", 70, 3 * time.Minute, noise},
		{"second", 80, 2 * time.Minute, second},
	}
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "chat:", err)
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("chat", flag.ContinueOnError)
	programs := flags.String("programs", "", "folder of the programs chat and bootstrap")
	tmp := flags.String("tmp", "", "folder for what the programs keep")
	seed := flags.Uint64("seed", 0, "seed of all that is random; 0: by the clock")
	kills := flags.Int("kills", 20, "how often the receiver and the sender are killed, each")
	jobs := flags.Int("jobs", 2, "how many tests run at once")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *programs == "" || *tmp == "" {
		return errors.New("-programs and -tmp must be given")
	}
	if *seed == 0 {
		*seed = uint64(time.Now().UnixNano())
	}
	all := tests()
	chosen := all
	if flags.NArg() > 0 {
		chosen = nil
		for _, name := range flags.Args() {
			i := slices.IndexFunc(all, func(t test) bool { return t.name == name })
			if i < 0 {
				return fmt.Errorf("nothing is called %q", name)
			}
			chosen = append(chosen, all[i])
		}
	}
	fmt.Printf("the same choices again: -seed %d\n", *seed)
	for _, dir := range []*string{programs, tmp} { // the programs run elsewhere
		var err error
		if *dir, err = filepath.Abs(*dir); err != nil {
			return err
		}
	}
	t := tools{
		chat: filepath.Join(*programs, "chat"), bootstrap: filepath.Join(*programs, "bootstrap"),
		seed: *seed, kills: *kills,
	}
	begun := time.Now()
	failed := performAll(ctx, chosen, max(*jobs, 1), t, *tmp)
	if ctx.Err() != nil {
		return errors.New("interrupted")
	}
	if len(failed) > 0 {
		return fmt.Errorf("FAILED: %s", strings.Join(failed, " "))
	}
	fmt.Printf("all %d held, in %.1f s\n", len(chosen), time.Since(begun).Seconds())
	return nil
}

// performAll runs the tests, some at once, as most of their time is waiting. It
// returns the names of those that failed.
func performAll(ctx context.Context, chosen []test, jobs int, t tools, tmp string) (failed []string) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	queue := make(chan test)
	for range jobs {
		wg.Go(func() {
			for c := range queue {
				l, err := c.perform(ctx, t, tmp)
				mu.Lock()
				if err != nil {
					failed = append(failed, c.name)
					l.print(os.Stdout)
					l.say("FAILED: %v", err)
				} else {
					l.say("ok")
				}
				mu.Unlock()
			}
		})
	}
	for _, c := range chosen {
		queue <- c
	}
	close(queue)
	wg.Wait()
	return failed
}

// perform runs a test in a lab of its own.
func (c test) perform(ctx context.Context, t tools, tmp string) (*lab, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, c.limit, fmt.Errorf("%s was not done within %v", c.name, c.limit))
	defer cancel()
	l := &lab{
		ctx: ctx, name: c.name, dir: filepath.Join(tmp, c.name), tools: t,
		random: rand.New(rand.NewPCG(t.seed, uint64(c.host))), begun: time.Now(), host: c.host,
	}
	if err := os.Mkdir(l.dir, 0o700); err != nil {
		return l, err
	}
	err := c.run(l)
	if err = errors.Join(err, l.end()); err != nil {
		return l, err
	}
	return l, os.RemoveAll(l.dir)
}
