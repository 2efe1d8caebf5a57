package carrier_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocarrier/carrier"
	"github.com/gocarrier/carrier/carriertest"
)

// patience bounds a wait for what the network brings, in virtual time.
const patience = 5 * time.Minute

// bubble runs a test in virtual time on a network of its own.
func bubble(t *testing.T, test func(t *testing.T, n *carriertest.Network)) {
	t.Helper()
	t.Parallel()
	bubbleWith(t, nil, test)
}

func bubbleWith(t *testing.T, opts *carriertest.Options, test func(t *testing.T, n *carriertest.Network)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(12 * time.Hour) // bubbles begin at midnight, when nodes listen to two days' bells
		test(t, carriertest.NewNetwork(t, opts))
	})
}

// within is a context for the waits of a test.
func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// person is somebody with a state directory and a host, whose node can be
// stopped and started again.
type person struct {
	*carrier.Node
	t      *testing.T
	net    *carriertest.Network
	config carrier.Config
}

// newPerson starts a person's node and waits until the DHT answers it.
func newPerson(t *testing.T, n *carriertest.Network, name string) *person {
	t.Helper()
	p := &person{t: t, net: n, config: carrier.Config{Dir: t.TempDir(), Name: name, Net: n.Host()}}
	p.start()
	return p
}

func (p *person) start() {
	p.t.Helper()
	p.Node = p.net.Start(p.config)
	p.must(p.WaitReady(within(p.t, patience)))
}

// stop ends the node without a word to anybody, as a crash does.
func (p *person) stop() {
	p.t.Helper()
	p.must(p.Close())
}

// leave ends the node with a goodbye.
func (p *person) leave() {
	p.t.Helper()
	p.must(p.Shutdown(within(p.t, patience)))
}

func (p *person) must(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatalf("%s: %v", p.config.Name, err)
	}
}

// friend is the handle of another person, also after a restart.
func (p *person) friend(id carrier.ID) *carrier.Friend {
	p.t.Helper()
	f, err := p.Friend(id)
	p.must(err)
	return f
}

// add sends a friend request.
func (p *person) add(to carrier.Address, hello string) *carrier.Friend {
	p.t.Helper()
	f, err := p.AddFriend(p.t.Context(), to, hello)
	p.must(err)
	return f
}

func (p *person) accept(id carrier.ID) *carrier.Friend {
	p.t.Helper()
	f, err := p.Accept(id)
	p.must(err)
	return f
}

// send sends a message to a friend.
func (p *person) send(to carrier.ID, body string) *carrier.Message {
	p.t.Helper()
	m, err := p.friend(to).Send(p.t.Context(), []byte(body), nil)
	p.must(err)
	return m
}

// request waits for the friend request of that person.
func (p *person) request(from carrier.ID) carrier.FriendRequest {
	p.t.Helper()
	r, err := requestOf(p.Events(within(p.t, patience)), from)
	p.must(err)
	return r
}

// reading is what was read of a message.
type reading struct {
	id      carrier.MessageID
	from    carrier.ID
	body    string
	time    time.Time
	courier carrier.Courier
}

// read takes and consumes messages until count have come, or d has passed.
func (p *person) read(count int, d time.Duration) []reading {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), d)
	defer cancel()
	var got []reading
	for len(got) < count {
		for m, err := range p.Messages(ctx) {
			if errors.Is(err, context.DeadlineExceeded) {
				return got
			}
			p.must(err)
			p.must(m.Done())
			got = append(got, reading{m.ID(), m.From(), string(m.Body()), m.Time(), m.Courier()})
			if len(got) == count {
				break
			}
		}
	}
	return got
}

// next reads one message.
func (p *person) next() reading {
	p.t.Helper()
	got := p.read(1, patience)
	if len(got) != 1 {
		p.t.Fatalf("%s got no message", p.config.Name)
	}
	return got[0]
}

// nothingElse checks that no message comes for a while.
func (p *person) nothingElse(d time.Duration) {
	p.t.Helper()
	for _, r := range p.read(1, d) {
		p.t.Errorf("%s got %q (%s), want no more messages", p.config.Name, r.body, r.id)
	}
}

// delivered waits for the receipt of a message.
func (p *person) delivered(m *carrier.Message) {
	p.t.Helper()
	p.must(m.WaitDelivered(within(p.t, patience)))
}

// befriend makes friends of two people, who see each other online then.
func befriend(a, b *person) (ab, ba *carrier.Friend) {
	a.t.Helper()
	return a.net.Befriend(a.Node, b.Node)
}

// recorder keeps what a reader of events has seen.
type recorder struct {
	mu     sync.Mutex
	events []carrier.Event
}

// record reads a node's events until the node closes or the test ends.
func record(t *testing.T, node *carrier.Node) *recorder {
	t.Helper()
	r := &recorder{}
	events := node.Events(t.Context())
	go func() {
		for ev := range events {
			r.mu.Lock()
			r.events = append(r.events, ev)
			r.mu.Unlock()
		}
	}()
	return r
}

func (r *recorder) all() []carrier.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.events)
}

// eventsOf returns the seen events of one type.
func eventsOf[E carrier.Event](r *recorder) []E {
	var out []E
	for _, ev := range r.all() {
		if e, ok := ev.(E); ok {
			out = append(out, e)
		}
	}
	return out
}

// eventually waits until something holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !holds(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not so after %s", what, patience)
		}
	}
}
