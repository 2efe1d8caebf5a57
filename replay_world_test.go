package carrier_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gocarrier/carrier"
	"github.com/gocarrier/carrier/crypto"
	"github.com/gocarrier/carrier/dht"
	"github.com/gocarrier/carrier/internal/lab"
	"github.com/gocarrier/carrier/internal/store"
)

// wiretap keeps all that two people's nodes say to each other, and what they put
// into the DHT.
type wiretap struct {
	mu        sync.Mutex
	people    map[netip.Addr]bool
	over      bool
	datagrams []taped
	items     []tapedItem
}

type taped struct {
	from, to netip.AddrPort
	b        []byte
}

type tapedItem struct {
	at time.Time
	dht.Item
}

func (w *wiretap) tap(from, to netip.AddrPort, b []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.over || !w.people[from.Addr()]:
	case b[0] != 'd' && w.people[to.Addr()]:
		w.datagrams = append(w.datagrams, taped{from, to, bytes.Clone(b)})
	case bytes.Contains(b, []byte("1:q3:put")):
		v, _, _ := bdecode(string(b))
		m, _ := v.(map[string]any)
		a, _ := m["a"].(map[string]any)
		key, _ := a["k"].(string)
		salt, _ := a["salt"].(string)
		sig, _ := a["sig"].(string)
		value, _ := a["v"].(string)
		seq, _ := a["seq"].(int64)
		i := dht.Item{Key: [32]byte([]byte(key)), Salt: []byte(salt), Value: []byte(value), Seq: seq, Sig: [64]byte([]byte(sig))}
		same := func(o tapedItem) bool { return o.Key == i.Key && string(o.Salt) == salt && o.Seq == seq }
		if !slices.ContainsFunc(w.items, same) { // it goes to many holders
			w.items = append(w.items, tapedItem{time.Now(), i})
		}
	}
}

// stop ends the recording.
func (w *wiretap) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.over = true
}

// itemsAt are those that stood in the DHT at that time.
func (w *wiretap) itemsAt(t time.Time) []dht.Item {
	stood := map[string]dht.Item{}
	for _, i := range w.items {
		if !i.at.After(t) {
			stood[string(i.Key[:])+string(i.Salt)] = i.Item
		}
	}
	return slices.Collect(maps.Values(stood))
}

// held is somebody whose disk can be put back.
type held struct {
	t        *testing.T
	w        *system // whose DHT is used
	name     string
	host     *lab.Host
	disk     *disk
	identity []byte // to begin an empty disk with
	linkless bool

	*carrier.Node
	store  *crashStore
	news   *recorder
	ctx    context.Context
	cancel context.CancelFunc
	reader sync.WaitGroup

	mu    sync.Mutex
	shown []string // what was read, and how it came, of all runs
	times map[carrier.MessageID]int
}

// begin starts the node, and does not wait for the DHT.
func (p *held) begin() {
	p.t.Helper()
	p.store = &crashStore{disk: p.disk, commits: func([]store.Op) {}, crashed: func() {}}
	config := carrier.Config{Name: p.name, Net: p.host, Bootstrap: p.w.bootstrap(), Identity: p.identity}
	config.Hook(p.store, p.disk.prekeys, nil)
	p.host.Up()
	node, err := carrier.Start(p.t.Context(), config)
	if err != nil {
		p.t.Fatalf("%s: %v", p.name, err)
	}
	p.Node = node
	if p.linkless {
		node.Unlink()
	}
	p.news = record(p.t, node)
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.reader.Go(func() {
		for m, err := range node.Messages(p.ctx) {
			if err != nil {
				return
			}
			if m.Done() != nil {
				return // it was ended, and shows it again
			}
			p.mu.Lock()
			p.shown = append(p.shown, fmt.Sprintf("%s by %s", m.Body(), m.Courier()))
			if p.times[m.ID()]++; p.times[m.ID()] > 1 {
				p.t.Errorf("%s was shown %q again, by %s", p.name, m.Body(), m.Courier())
			}
			p.mu.Unlock()
		}
	})
}

func (p *held) start() {
	p.t.Helper()
	p.begin()
	if err := p.WaitReady(p.ctx); err != nil {
		p.t.Fatalf("%s: %v", p.name, err)
	}
}

// kill ends the node at once, without a word to anybody.
func (p *held) kill() {
	p.t.Helper()
	if p.Node == nil {
		return
	}
	p.host.Down()
	p.store.kill()
	p.ended(p.Close())
}

// leave ends it with a goodbye.
func (p *held) leave() {
	p.t.Helper()
	p.ended(p.Shutdown(within(p.t, patience)))
}

func (p *held) ended(err error) {
	p.t.Helper()
	if err != nil && !errors.Is(err, store.ErrFailed) { // which a kill makes of it
		p.t.Errorf("%s: close: %v", p.name, err)
	}
	p.cancel()
	p.reader.Wait()
	p.Node = nil
}

// backup copies the disk of a node that was ended.
func (p *held) backup() *disk {
	p.t.Helper()
	d, err := p.disk.clone()
	if err != nil {
		p.t.Fatal(err)
	}
	return d
}

// send sends a message to the one friend.
func (p *held) send(body string) *carrier.Message {
	p.t.Helper()
	m, err := p.Friends()[0].Send(p.t.Context(), []byte(body), nil)
	if err != nil {
		p.t.Fatalf("%s: send %q: %v", p.name, body, err)
	}
	return m
}

// got is what was shown since there were n.
func (p *held) got(n int) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.shown[n:])
}

// state is all that the node's program can ask of it, but for counters.
func (p *held) state() string {
	var s strings.Builder
	for _, f := range p.Friends() {
		profile := f.Profile()
		path := f.Path()
		fmt.Fprintf(&s, "%s %v, online %v by %v %v, presence %v, %q %q %q",
			f.ID(), f.State(), f.Online(), path.Kind, path.Remote, f.Presence(), f.Label(), profile.Name, profile.Description)
		if !f.Online() {
			fmt.Fprintf(&s, ", seen %v", f.LastSeen())
		}
		s.WriteByte('\n')
	}
	for _, r := range p.Requests() {
		fmt.Fprintf(&s, "request of %s: %q\n", r.ID, r.Hello)
	}
	for _, id := range p.Blocked() {
		fmt.Fprintf(&s, "blocked %s\n", id)
	}
	for _, m := range p.Outbox() {
		fmt.Fprintf(&s, "outbox %s %v\n", m.ID(), m.State())
	}
	fmt.Fprintf(&s, "profile %v\n%d messages", p.Profile(), len(p.got(0)))
	return s.String()
}

// replayer has a host, and nobody's keys.
type replayer struct {
	t    *testing.T
	w    *system
	host *lab.Host
	conn net.PacketConn
}

func newReplayer(t *testing.T, w *system) *replayer {
	t.Helper()
	host := w.net.Host(netip.MustParseAddr("198.18.99.1"))
	conn, err := host.ListenPacket(t.Context(), "udp4", ":0")
	if err != nil {
		t.Fatal(err)
	}
	return &replayer{t, w, host, conn}
}

// play sends datagrams to nodes that run, as from those who sent them and from
// elsewhere.
func (r *replayer) play(record []taped, to ...*held) {
	r.t.Helper()
	for _, d := range record {
		for _, p := range to {
			at := p.LocalAddrs()[0]
			if d.from != at {
				r.host.Forge(d.b, d.from, at)
			} else {
				r.host.Forge(d.b, d.to, at) // its own come back
			}
			if _, err := r.conn.WriteTo(d.b, net.UDPAddrFromAddrPort(at)); err != nil {
				r.t.Fatal(err)
			}
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// plant puts items into routers, whatever may stand elsewhere.
func (r *replayer) plant(items []dht.Item, at ...*router) {
	r.t.Helper()
	id := strings.Repeat("r", 20)
	tokens := map[*router]any{}
	b := make([]byte, 2048)
	for _, to := range at {
		query := bencode(nil, map[string]any{"t": "tk", "y": "q", "q": "get_peers", "a": map[string]any{"id": id, "info_hash": id}})
		if _, err := r.conn.WriteTo(query, net.UDPAddrFromAddrPort(to.at)); err != nil {
			r.t.Fatal(err)
		}
		for deadline := time.Now().Add(5 * time.Second); tokens[to] == nil; {
			if err := r.conn.SetReadDeadline(deadline); err != nil {
				r.t.Fatal(err)
			}
			n, from, err := r.conn.ReadFrom(b)
			if err != nil {
				r.t.Fatalf("no token from %s: %v", to.at, err)
			}
			v, _, _ := bdecode(string(b[:n]))
			m, _ := v.(map[string]any)
			answer, _ := m["r"].(map[string]any)
			if from.String() == to.at.String() && m["t"] == "tk" {
				tokens[to] = answer["token"]
			}
		}
	}
	for _, i := range items {
		a := map[string]any{"id": id, "k": string(i.Key[:]), "seq": i.Seq, "sig": string(i.Sig[:]), "v": string(i.Value)}
		if len(i.Salt) > 0 {
			a["salt"] = string(i.Salt)
		}
		for _, to := range at {
			a["token"] = tokens[to]
			query := bencode(nil, map[string]any{"t": "pt", "y": "q", "q": "put", "a": a})
			if _, err := r.conn.WriteTo(query, net.UDPAddrFromAddrPort(to.at)); err != nil {
				r.t.Fatal(err)
			}
		}
		time.Sleep(50 * time.Millisecond) // routers answer nobody without bounds
	}
}

// above signs the items of two friends' slots anew with a higher seq, as either
// of them can.
func above(t *testing.T, items []tapedItem, seed []byte, friend carrier.ID, seq int64) (list []dht.Item) {
	t.Helper()
	identity, err := crypto.IdentityFromSeed(seed)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := identity.Pair(friend)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range []crypto.Direction{crypto.In, crypto.Out} {
		key := pair.Slot(d, crypto.Week(time.Now()))
		for _, i := range items {
			if i.Key != [32]byte(key[32:]) {
				continue
			}
			seq++
			signed := fmt.Appendf(nil, "4:salt%d:%s3:seqi%de1:v", len(i.Salt), i.Salt, seq)
			signed = bencode(signed, string(i.Value))
			i.Seq, i.Sig = seq, [64]byte(ed25519.Sign(key, signed))
			list = append(list, i.Item)
		}
	}
	return list
}

// emptied starts routers anew, without what they held.
func (r *replayer) emptied(at ...*router) {
	for _, x := range at {
		r.w.stopRouter(x)
	}
	for _, x := range at {
		r.w.startRouter(x)
	}
	time.Sleep(5 * time.Second)
}
