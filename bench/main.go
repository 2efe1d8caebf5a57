// Command bench compares what one reliable stream between two ends in this
// process carries over loopback: carrier, quic-go, and smux over TLS over TCP.
// The stacks take turns in each round, so that whatever else the machine does
// falls on all of them, and medians are printed. See README.md.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"slices"
	"text/tabwriter"
)

func main() {
	size := flag.Int64("mib", 256, "MiB that each stack carries in each round")
	rounds := flag.Int("rounds", 3, "rounds, of which medians are taken")
	only := flag.String("run", "", "regular expression: run these stacks only")
	var prof profiles
	flag.StringVar(&prof.cpu, "cpuprofile", "", "write a CPU profile of the rounds to this file")
	flag.StringVar(&prof.allocs, "allocprofile", "", "write a profile of the allocations to this file; it slows the rounds down")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Stdout, *only, *size<<20, *rounds, prof); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// warmUp is carried by each stack before the first round: buffers and
// congestion windows have grown then.
const warmUp = 16 << 20

func run(ctx context.Context, out io.Writer, only string, size int64, rounds int, prof profiles) (err error) {
	pattern, err := regexp.Compile(only)
	if err != nil {
		return fmt.Errorf("stacks to run: %w", err)
	}
	if size <= 0 || rounds <= 0 {
		return fmt.Errorf("%d bytes in %d rounds: both must be positive", size, rounds)
	}
	var lanes []*lane
	for _, s := range stacks() {
		if !pattern.MatchString(s.name) {
			continue
		}
		p, err := s.start(ctx)
		if err != nil {
			return fmt.Errorf("start %s: %w", s.name, err)
		}
		defer p.close()
		if _, err := carry(ctx, p, min(size, warmUp), nil); err != nil {
			return fmt.Errorf("warm up %s: %w", s.name, err)
		}
		lanes = append(lanes, &lane{name: s.name, pair: p})
	}
	if len(lanes) == 0 {
		return fmt.Errorf("no stack is called %q", only)
	}
	finish, err := prof.begin()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, finish()) }()
	for range rounds {
		for _, l := range lanes {
			r, err := carry(ctx, l.pair, size, nil)
			if err != nil {
				return fmt.Errorf("%s: %w", l.name, err)
			}
			l.results = append(l.results, r)
		}
		slices.Reverse(lanes) // nobody always comes after the same
	}
	return report(out, lanes)
}

// lane is a stack's place in the comparison.
type lane struct {
	name    string
	pair    pair
	results []result
}

// median is that of one figure of the results.
func (l *lane) median(figure func(result) float64) float64 {
	var all []float64
	for _, r := range l.results {
		all = append(all, figure(r))
	}
	slices.Sort(all)
	return (all[(len(all)-1)/2] + all[len(all)/2]) / 2
}

func report(out io.Writer, lanes []*lane) error {
	slices.SortStableFunc(lanes, func(a, b *lane) int { return cmp.Compare(place(a.name), place(b.name)) })
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "stack\tMB/s\tof rounds\tCPU-s/GB\tallocs/MB\t")
	for _, l := range lanes {
		slowest := slices.MinFunc(l.results, func(a, b result) int { return cmp.Compare(a.speed(), b.speed()) })
		fastest := slices.MaxFunc(l.results, func(a, b result) int { return cmp.Compare(a.speed(), b.speed()) })
		fmt.Fprintf(w, "%s\t%.0f\t%.0f–%.0f\t%.2f\t%.0f\t\n", l.name, l.median(result.speed), slowest.speed(), fastest.speed(),
			l.median(result.cost), l.median(result.allocsPerMB))
	}
	return w.Flush()
}
