package carrier_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocarrier/carrier"
	"github.com/gocarrier/carrier/carriertest"
)

// copyDir copies a state directory with its modes, as a crash at this moment
// would leave it.
func copyDir(t *testing.T, dir string) string {
	t.Helper()
	to := t.TempDir()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		b, err := os.ReadFile(filepath.Join(dir, entry.Name()))
		if err != nil {
			t.Fatal(err)
		}
		info, err := entry.Info()
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(to, entry.Name()), b, info.Mode().Perm()); err != nil {
			t.Fatal(err)
		}
	}
	return to
}

// inbox is a test with messages "0", "1", … waiting at Bob, read by nobody.
func inbox(t *testing.T, count int, test func(t *testing.T, bob *person)) {
	t.Helper()
	bubble(t, func(t *testing.T, n *carriertest.Network) {
		alice, bob := newPerson(t, n, "Alice"), newPerson(t, n, "Bob")
		befriend(alice, bob)
		var last *carrier.Message
		for i := range count {
			last = alice.send(bob.ID(), fmt.Sprint(i))
		}
		if last != nil {
			alice.delivered(last)
		}
		alice.stop()
		test(t, bob)
	})
}

// loop reads messages until stop says so, and returns their bodies.
func loop(t *testing.T, ctx context.Context, node *carrier.Node, body func(m *carrier.Message) (stop bool)) (got []string, err error) {
	t.Helper()
	for m, err := range node.Messages(ctx) {
		if err != nil {
			return got, err
		}
		got = append(got, string(m.Body()))
		if body(m) {
			return got, nil
		}
	}
	return got, nil
}

// rest reads and consumes what is in the inbox, and returns the bodies.
func (p *person) rest() []string {
	p.t.Helper()
	var got []string
	for _, r := range p.read(1<<20, time.Second) {
		got = append(got, r.body)
	}
	return got
}

func wantBodies(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s: %q, want %q", what, got, want)
	}
}

func TestInboxBodyCompletes(t *testing.T) {
	inbox(t, 3, func(t *testing.T, bob *person) {
		got, err := loop(t, within(t, time.Second), bob.Node, func(*carrier.Message) bool { return false })
		wantBodies(t, "the loop", got, "0", "1", "2")
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the loop ended with %v, want the context's error", err)
		}
		wantBodies(t, "a second loop", bob.rest())
		bob.stop()
		bob.start()
		wantBodies(t, "after a restart", bob.rest())
	})
}

func TestInboxBreak(t *testing.T) {
	inbox(t, 3, func(t *testing.T, bob *person) {
		got, _ := loop(t, t.Context(), bob.Node, func(m *carrier.Message) bool { return string(m.Body()) == "1" })
		wantBodies(t, "the loop that breaks", got, "0", "1")
		wantBodies(t, "the next loop", bob.rest(), "1", "2")
	})
}

func TestInboxReturn(t *testing.T) {
	inbox(t, 2, func(t *testing.T, bob *person) {
		first := func() string {
			for m := range bob.Messages(t.Context()) {
				return string(m.Body())
			}
			return ""
		}
		wantBodies(t, "two calls that return", []string{first(), first()}, "0", "0")
		time.Sleep(time.Minute)
		bob.stop()
		bob.start()
		wantBodies(t, "after a restart", bob.rest(), "0", "1")
	})
}

func TestInboxPanic(t *testing.T) {
	inbox(t, 2, func(t *testing.T, bob *person) {
		func() {
			defer func() {
				if recover() == nil {
					t.Error("the loop's panic did not come through")
				}
			}()
			for range bob.Messages(t.Context()) {
				panic("handler")
			}
		}()
		wantBodies(t, "after the panic", bob.rest(), "0", "1")
	})
}

func TestInboxDone(t *testing.T) {
	inbox(t, 3, func(t *testing.T, bob *person) {
		var kept *carrier.Message
		loop(t, t.Context(), bob.Node, func(m *carrier.Message) bool {
			if string(m.Body()) == "0" {
				kept = m
				return true
			}
			return false
		})
		bob.must(kept.Done()) // after the loop it is the same
		bob.must(kept.Done()) // and again
		dir := copyDir(t, bob.config.Dir)
		wantBodies(t, "after Done", bob.rest(), "1", "2")
		// Done has committed when it returns.
		bob.stop()
		bob.config.Dir = dir
		bob.start()
		wantBodies(t, "after a crash right behind Done", bob.rest(), "1", "2")
		if s := kept.State().Status; s != carrier.MessageInbound {
			t.Errorf("State of a received message = %s, want received", s)
		}
		bob.must(kept.WaitDelivered(t.Context()))
	})
}

func TestInboxDoneInsideTheLoop(t *testing.T) {
	inbox(t, 3, func(t *testing.T, bob *person) {
		got, _ := loop(t, within(t, time.Second), bob.Node, func(m *carrier.Message) bool {
			bob.must(m.Done())
			return string(m.Body()) == "1"
		})
		wantBodies(t, "the loop", got, "0", "1")
		wantBodies(t, "the rest", bob.rest(), "2")
	})
}

// TestInboxCommitsLate: a crash within 50 ms of a completed body shows the
// message again with the same ID; a later one does not.
func TestInboxCommitsLate(t *testing.T) {
	inbox(t, 2, func(t *testing.T, bob *person) {
		var ids []carrier.MessageID
		var early, late string
		loop(t, t.Context(), bob.Node, func(m *carrier.Message) bool {
			ids = append(ids, m.ID())
			if len(ids) == 1 {
				return false
			}
			synctest.Wait()
			early = copyDir(t, bob.config.Dir) // the first body has completed at this instant
			time.Sleep(50 * time.Millisecond)
			synctest.Wait()
			late = copyDir(t, bob.config.Dir)
			return true
		})
		bob.stop()
		bob.config.Dir = early
		bob.start()
		got := bob.read(2, time.Second)
		if len(got) != 2 || got[0].id != ids[0] || got[1].id != ids[1] {
			t.Errorf("after a crash within 50ms %v came, want both with the IDs %v", got, ids)
		}
		bob.stop()
		bob.config.Dir = late
		bob.start()
		wantBodies(t, "after a crash 50ms later", bob.rest(), "1")
	})
}

// TestInboxCommitsMany: 256 consumptions do not wait for the 50 ms.
func TestInboxCommitsMany(t *testing.T) {
	inbox(t, 258, func(t *testing.T, bob *person) {
		var dir string
		n := 0
		begin := time.Now()
		loop(t, t.Context(), bob.Node, func(*carrier.Message) bool {
			n++
			if n < 258 {
				return false
			}
			synctest.Wait()
			dir = copyDir(t, bob.config.Dir)
			return true
		})
		if took := time.Since(begin); took != 0 {
			t.Fatalf("reading took %s of virtual time, so that this tests nothing", took)
		}
		bob.stop()
		bob.config.Dir = dir
		bob.start()
		if got := bob.rest(); len(got) != 2 {
			t.Errorf("after a crash %d of 258 messages came again, want the 2 beyond 256", len(got))
		}
	})
}

// TestInboxConsumedAtClose: what was consumed before Close does not come again.
func TestInboxConsumedAtClose(t *testing.T) {
	inbox(t, 2, func(t *testing.T, bob *person) {
		loop(t, t.Context(), bob.Node, func(m *carrier.Message) bool { return string(m.Body()) == "1" })
		bob.leave()
		bob.start()
		wantBodies(t, "after Shutdown", bob.rest(), "1")
	})
}

func TestInboxReaderBusy(t *testing.T) {
	inbox(t, 1, func(t *testing.T, bob *person) {
		for range bob.Messages(t.Context()) {
			_, err := loop(t, t.Context(), bob.Node, func(*carrier.Message) bool { return false })
			if !errors.Is(err, carrier.ErrReaderBusy) {
				t.Errorf("a second loop ended with %v, want ErrReaderBusy", err)
			}
			break
		}
		wantBodies(t, "when the first loop has ended", bob.rest(), "0")
	})
}

// TestInboxEndsWithOneError: the context's, or that of a closed node.
func TestInboxEndsWithOneError(t *testing.T) {
	inbox(t, 0, func(t *testing.T, bob *person) {
		drain := func(seq iter.Seq2[*carrier.Message, error]) (errs []error) {
			for _, err := range seq {
				errs = append(errs, err)
			}
			return errs
		}
		if errs := drain(bob.Messages(within(t, time.Second))); len(errs) != 1 || !errors.Is(errs[0], context.DeadlineExceeded) {
			t.Errorf("the loop ended with %v, want the context's error once", errs)
		}
		done := make(chan []error)
		go func() { done <- drain(bob.Messages(context.Background())) }()
		synctest.Wait()
		bob.stop()
		if errs := <-done; len(errs) != 1 || !errors.Is(errs[0], net.ErrClosed) {
			t.Errorf("the loop over a node that closes ended with %v, want net.ErrClosed once", errs)
		}
	})
}

// TestInboxCrashBeforeHandling: what was received and not handled is shown
// again with the same ID after a crash, with courier and time.
func TestInboxCrashBeforeHandling(t *testing.T) {
	inbox(t, 2, func(t *testing.T, bob *person) {
		var seen []*carrier.Message
		loop(t, t.Context(), bob.Node, func(m *carrier.Message) bool { seen = append(seen, m); return true })
		dir := copyDir(t, bob.config.Dir)
		bob.stop()
		bob.config.Dir = dir
		bob.start()
		got := bob.read(2, time.Second)
		if len(got) != 2 || got[0].id != seen[0].ID() || got[0].courier != seen[0].Courier() || !got[0].time.Equal(seen[0].Time()) {
			t.Errorf("after a crash %+v came, want both, the first as %s by %s of %s", got, seen[0].ID(), seen[0].Courier(), seen[0].Time())
		}
	})
}

func TestInboxOneHandle(t *testing.T) {
	inbox(t, 1, func(t *testing.T, bob *person) {
		var handles []*carrier.Message
		for range 2 {
			loop(t, t.Context(), bob.Node, func(m *carrier.Message) bool { handles = append(handles, m); return true })
		}
		if len(handles) != 2 || handles[0] != handles[1] {
			t.Errorf("the same message came as %p, want one handle", handles)
		}
	})
}

// TestInboxWakes: a reader that waits gets a message as it comes, and the event
// tells of it too.
func TestInboxWakes(t *testing.T) {
	bubble(t, func(t *testing.T, n *carriertest.Network) {
		alice, bob := newPerson(t, n, "Alice"), newPerson(t, n, "Bob")
		befriend(alice, bob)
		events := record(t, bob.Node)
		got := make(chan reading)
		go func() { got <- bob.next() }()
		synctest.Wait()
		begin := time.Now()
		m := alice.send(bob.ID(), "wake up")
		if r := <-got; r.id != m.ID() || time.Since(begin) > time.Second {
			t.Errorf("the reader woke with %q after %s", r.body, time.Since(begin))
		}
		synctest.Wait()
		if told := eventsOf[carrier.MessageReceived](events); len(told) != 1 || told[0] != (carrier.MessageReceived{From: alice.ID(), ID: m.ID()}) {
			t.Errorf("MessageReceived = %+v, want one", told)
		}
	})
}
