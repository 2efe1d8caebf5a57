package friendship

import (
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gocarrier/carrier/crypto"
)

var rewrite = flag.Bool("rewrite", false, "write the transcripts of testdata anew")

// TestTranscripts runs testdata/*.txt: blocks of commands, "----", what came of
// them, an empty line. Every command takes a second.
//
//	nodes A B …           begins anew with these
//	A add B [HELLO]       and accept, refuse, remove, block, unblock B
//	A label B TEXT
//	A stored B            A learns that its request to B lies in the DHT
//	A sees B              A finds B's request, then B's state, as published now
//	A sees-request B [I]  or the I-th that B ever put
//	A sees-state B
//	A restarts            from its rows
//	A loses               its store
//	A clock DURATION      is off by that much
//	settle                everybody sees everything until nothing changes
//	wait DURATION
//	show                  what everybody is to everybody
//	A drops               what A has dropped so far
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			want := string(text)
			got := runTranscript(t, want, false)
			if *rewrite {
				if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
				want = got
			}
			if got != want {
				t.Errorf("%s: run with -rewrite to see the difference\n%s", file, firstDifference(got, want))
			}
			restarted := runTranscript(t, want, true)
			if got, want := facts(restarted), facts(want); got != want {
				t.Errorf("%s with restarts at every step:\n%s", file, firstDifference(got, want))
			}
		})
	}
}

// facts leaves out what is only repeated, which a restart may do once more, and
// counters.
func facts(transcript string) string {
	var kept []string
	for line := range strings.Lines(transcript) {
		switch {
		case strings.Contains(line, ": tells "), strings.Contains(line, ": puts request "), strings.Contains(line, ": friendship."):
		default:
			kept = append(kept, line)
		}
	}
	return strings.Join(kept, "")
}

func firstDifference(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range max(len(g), len(w)) {
		var a, b string
		if i < len(g) {
			a = g[i]
		}
		if i < len(w) {
			b = w[i]
		}
		if a != b {
			return fmt.Sprintf("line %d:\n got %s\nwant %s", i+1, a, b)
		}
	}
	return "none"
}

func runTranscript(t *testing.T, text string, restarts bool) string {
	t.Helper()
	var out strings.Builder
	var w *world
	for i, block := range strings.Split(strings.TrimSpace(text), "\n\n") {
		if i > 0 {
			out.WriteString("\n")
		}
		input, _, _ := strings.Cut(block, "\n----")
		out.WriteString(input + "\n")
		if strings.HasPrefix(lastLine(input), "#") {
			continue // a comment alone
		}
		out.WriteString("----\n")
		for line := range strings.SplitSeq(input, "\n") {
			fields := strings.Fields(line)
			switch {
			case strings.HasPrefix(line, "#"):
				continue
			case len(fields) > 1 && fields[0] == "nodes":
				w = newWorld(fields[1:]...)
				w.restarts = restarts
			case w == nil:
				t.Fatalf("%q before nodes", line)
			default:
				w.log = &out
				w.command(t, fields)
			}
			w.check(t)
		}
	}
	return out.String()
}

func lastLine(s string) string { return s[strings.LastIndexByte(s, '\n')+1:] }

func (w *world) command(t *testing.T, f []string) {
	t.Helper()
	switch f[0] {
	case "settle":
		if !w.settle() {
			t.Fatal("does not come to rest")
		}
	case "wait":
		d, err := time.ParseDuration(f[1])
		if err != nil {
			t.Fatal(err)
		}
		w.pass(d)
	case "show":
		w.log.WriteString(w.picture())
	default:
		n := w.nodes[f[0]]
		if n == nil || len(f) < 2 {
			t.Fatalf("unknown command %q", f)
		}
		if err := w.act(t, n, f[1:]); err != nil {
			w.print("%s: error %s", n.name, short(err))
		}
		w.take(n)
	}
	w.pass(time.Second)
	for _, name := range w.names {
		if w.restarts {
			log := w.log
			w.log = nil
			if err := w.restart(w.nodes[name]); err != nil {
				t.Fatal(err)
			}
			w.log = log
		}
	}
}

func short(err error) string {
	for _, e := range []error{ErrSelf, ErrTooLong, ErrText, ErrBlocked, ErrNotFriend, ErrNoRequest} {
		if errors.Is(err, e) {
			return e.Error()
		}
	}
	return err.Error()
}

func (w *world) act(t *testing.T, n *node, f []string) error {
	t.Helper()
	var id crypto.ID
	var other *node
	if len(f) > 1 && f[0] != "clock" {
		if other = w.nodes[f[1]]; other == nil {
			t.Fatalf("nobody is called %q", f[1])
		}
		id = other.id
	}
	rest := strings.Join(f[min(2, len(f)):], " ")
	now := w.clock(n)
	switch f[0] {
	case "add":
		return n.m.Add(now, other.address(), rest)
	case "accept":
		return n.m.Accept(now, id)
	case "refuse":
		return n.m.Refuse(now, id)
	case "remove":
		return n.m.Remove(now, id)
	case "block":
		return n.m.Block(now, id)
	case "unblock":
		return n.m.Unblock(now, id)
	case "label":
		return n.m.Label(id, rest)
	case "stored":
		n.m.Stored(id)
	case "sees":
		w.seeRequest(other, n, -1)
		w.seeState(other, n)
	case "sees-state":
		if !w.seeState(other, n) {
			w.print("%s: finds nothing", n.name)
		}
	case "sees-request":
		i := -1
		if rest != "" {
			var err error
			if i, err = strconv.Atoi(rest); err != nil {
				t.Fatal(err)
			}
		}
		if !w.seeRequest(other, n, i) {
			w.print("%s: finds nothing", n.name)
		}
	case "restarts":
		return w.restart(n)
	case "clock":
		return w.shift(n, f[1])
	case "loses":
		n.lose()
	case "drops":
		stats := n.m.Stats()
		for _, name := range slices.Sorted(maps.Keys(stats)) {
			w.print("%s: %s %d", n.name, name, stats[name])
		}
	default:
		t.Fatalf("unknown command %q", f)
	}
	return nil
}

func (w *world) shift(n *node, by string) (err error) {
	n.skew, err = time.ParseDuration(by)
	return err
}
