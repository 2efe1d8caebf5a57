package carrier_test

import (
	"bytes"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.etcd.io/bbolt"

	"github.com/gocarrier/carrier"
	"github.com/gocarrier/carrier/carriertest"
	"github.com/gocarrier/carrier/crypto"
	"github.com/gocarrier/carrier/internal/lab"
	"github.com/gocarrier/carrier/internal/store"
	"github.com/gocarrier/carrier/internal/wire"
)

// heard is a datagram that somebody who watches every line has kept.
type heard struct {
	day int
	at  time.Time
	b   []byte
}

// watcher keeps all that crosses the network.
type watcher struct {
	day int

	mu   sync.Mutex
	kept []heard
}

func (w *watcher) tap(_, _ netip.AddrPort, b []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(b) > 0 && (b[0] == wire.EnvelopeByte || b[0] == 'd') {
		w.kept = append(w.kept, heard{w.day, time.Now(), bytes.Clone(b)})
	}
}

// sealedMail is what stands under the layer that the two identities open.
type sealedMail struct {
	day    int
	slot   bool // left in the DHT
	prekey uint64
	sealed string
}

// mail opens all that was recorded as far as the two identities do, and gives the
// mail from one to the other, each once.
func (w *watcher) mail(t *testing.T, pair *crypto.Pair) []sealedMail {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []sealedMail
	seen := map[string]bool{}
	for _, d := range w.kept {
		var sealed, ad []byte
		slot := d.b[0] == 'd'
		if slot {
			v, _, _ := bdecode(string(d.b))
			m, _ := v.(map[string]any)
			args, _ := m["a"].(map[string]any)
			key, _ := args["k"].(string)
			salt, _ := args["salt"].(string)
			value, _ := args["v"].(string)
			sealed, ad = []byte(value), []byte(key+salt)
		} else {
			sealed, ad = d.b[wire.EnvelopeOverhead:], d.b[:wire.EnvelopeOverhead]
		}
		plain, err := pair.Key(crypto.Out, crypto.Week(d.at)).Open(nil, ad, sealed)
		if err != nil {
			continue
		}
		kind, body, err := wire.ParsePlain(plain)
		if err != nil || kind != wire.KindMail {
			continue
		}
		prekey, sealed, err := wire.ParseMailBody(body)
		if err != nil {
			t.Fatal(err)
		}
		if !seen[string(sealed)] {
			seen[string(sealed)] = true
			all = append(all, sealedMail{d.day, slot, prekey, string(sealed)})
		}
	}
	return all
}

// loot is what a thief of a whole directory has to open mail with.
type loot struct {
	prekeys []*crypto.Prekey
	other   []*crypto.Identity
	from    carrier.ID
	to      carrier.ID
}

// opens reports whether any key opens the mail.
func (l *loot) opens(m sealedMail) bool {
	info := append([]byte("carrier/1 mail"), l.from.Bytes()...)
	info = wire.AppendUint64(append(info, l.to.Bytes()...), m.prekey)
	for _, k := range l.prekeys {
		if _, err := k.Open(info, nil, []byte(m.sealed)); err == nil {
			return true
		}
	}
	for _, k := range l.other {
		if _, err := k.Open(info, nil, []byte(m.sealed)); err == nil {
			return true
		}
	}
	return false
}

// steal copies a directory and takes all prekeys out of it. None of the erased
// ones may be left in it, neither in a file nor in a row.
func (l *loot) steal(t *testing.T, dir string, erased map[uint64]store.Private) {
	t.Helper()
	stolen := t.TempDir()
	if err := os.CopyFS(stolen, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(stolen, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		if err := os.Chmod(name, 0o600); err != nil { // a key file that is open to others is refused
			t.Fatal(err)
		}
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		without(t, filepath.Base(name), b, erased)
	}
	db, err := bbolt.Open(filepath.Join(stolen, "carrier.db"), 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	var tables []string
	err = db.View(func(tx *bbolt.Tx) error {
		return tx.ForEach(func(name []byte, _ *bbolt.Bucket) error {
			if name[0] != 0 { // that is of the store itself
				tables = append(tables, string(name))
			}
			return nil
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	s, err := store.Open(stolen, store.Secret{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	rows := 0
	for _, table := range tables {
		err := s.All(table, func(_, _, value []byte) error {
			rows++
			without(t, "a row of "+table, value, erased)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if rows == 0 {
		t.Fatal("the copied directory has no rows")
	}
	for _, k := range s.Prekeys().All() {
		without(t, "the file of prekeys", k.Private[:], erased)
		key, err := crypto.PrekeyFromBytes(k.Private[:])
		if err != nil {
			t.Fatal(err)
		}
		l.prekeys = append(l.prekeys, key)
	}
}

// without fails the test if an erased prekey stands in b.
func without(t *testing.T, where string, b []byte, erased map[uint64]store.Private) {
	t.Helper()
	for number, private := range erased {
		if bytes.Contains(b, private[:]) {
			t.Errorf("the erased prekey %d is in %s", number, where)
		}
	}
}

// TestForwardSecrecy has somebody record every datagram of a month, and then take
// the whole directory of Bob, with its key file, and both identities. Mail that is
// older than Bob's prekeys live stays sealed; what is younger opens.
func TestForwardSecrecy(t *testing.T) {
	t.Parallel()
	dirs := map[string]string{"Alice": t.TempDir(), "Bob": t.TempDir()}
	w := &watcher{}
	l := &loot{}
	drawn := map[uint64]store.Private{}
	var pair *crypto.Pair

	// on runs a part of a day. Days without mail pass without a network.
	on := func(day int, run func(t *testing.T, n *carriertest.Network)) {
		synctest.Test(t, func(t *testing.T) {
			time.Sleep(time.Duration(day) * (24*time.Hour + time.Minute))
			w.day = day
			n := carriertest.NewNetwork(t, &carriertest.Options{Routers: 4})
			n.Tap(w.tap)
			run(t, n)
		})
	}
	people := func(t *testing.T, n *carriertest.Network) (alice, bob *person) {
		alice = &person{t: t, net: n, config: carrier.Config{Dir: dirs["Alice"], Name: "Alice", Net: n.Host()}}
		bob = &person{t: t, net: n, config: carrier.Config{Dir: dirs["Bob"], Name: "Bob", Net: n.Host()}}
		alice.start()
		bob.start()
		_, prekeys := bob.InsecureKeys()
		for _, k := range prekeys {
			drawn[k.Number] = k.Private
		}
		return alice, bob
	}
	// write sends mail by every way on which it can be recorded, and has it come.
	write := func(t *testing.T, alice, bob *person) {
		alice.Unlink() // what goes over a link nobody can open who has not its keys
		eventually(t, "Bob is there without a link", func() bool {
			f := alice.friend(bob.ID())
			return f.Online() && f.Path().Kind == carrier.PathNone
		})
		m := alice.send(bob.ID(), "to Bob himself")
		alice.delivered(m)
		bob.stop()
		m = alice.send(bob.ID(), "left for Bob")
		alice.must(m.WaitStored(within(t, patience)))
		alice.stop()
		bob.start()
		if got := bob.read(2, patience); len(got) != 2 || got[0].courier != carrier.CourierDirect || got[1].courier != carrier.CourierDHT {
			t.Errorf("Bob got %v, want one message directly and one by the DHT", got)
		}
		bob.stop()
	}
	on(0, func(t *testing.T, n *carriertest.Network) {
		alice, bob := people(t, n)
		befriend(alice, bob)
		for _, p := range []*person{alice, bob} {
			seed, _ := p.InsecureKeys()
			identity, err := crypto.IdentityFromSeed(seed)
			if err != nil {
				t.Fatal(err)
			}
			l.other = append(l.other, identity)
		}
		l.from, l.to = alice.ID(), bob.ID()
		var err error
		if pair, err = l.other[0].Pair(l.to); err != nil {
			t.Fatal(err)
		}
		write(t, alice, bob)
	})
	again := func(t *testing.T, n *carriertest.Network) {
		alice, bob := people(t, n)
		write(t, alice, bob)
	}
	rest := func(from, to int) {
		for day := from; day < to; day++ {
			synctest.Test(t, func(t *testing.T) {
				time.Sleep(time.Duration(day) * (24*time.Hour + time.Minute))
				unconnected(t, dirs["Bob"], func(*carrier.Node) {})
			})
		}
	}
	// want looks at what a thief of that day can open: all but what was sealed to
	// the erased prekeys.
	want := func(day int, erased map[uint64]store.Private) {
		l.prekeys = nil
		l.steal(t, dirs["Bob"], erased)
		opened, sealed := [2]int{}, [2]int{} // of datagrams and slots
		for _, m := range w.mail(t, pair) {
			way := 0
			if m.slot {
				way = 1
			}
			_, gone := erased[m.prekey]
			switch opens := l.opens(m); {
			case opens == gone:
				t.Errorf("on day %d mail of day %d (in the DHT: %t) opens: %t, want %t", day, m.day, m.slot, opens, !gone)
			case opens:
				opened[way]++
			default:
				sealed[way]++
			}
		}
		t.Logf("day %d: %d datagrams and %d slots of mail open, %d and %d do not, with %d prekeys",
			day, opened[0], opened[1], sealed[0], sealed[1], len(l.prekeys))
		if day != 32 && (opened[0] == 0 || opened[1] == 0) || day > 31 && (sealed[0] == 0 || sealed[1] == 0) {
			t.Errorf("on day %d too little mail was recorded to show anything", day)
		}
	}
	on(1, again)
	old := maps.Clone(drawn)
	want(1, nil)
	rest(2, 31)
	want(30, nil) // it lives as long as is promised
	rest(31, 33)
	want(32, old)
	on(33, again)
	want(33, old)
}

// clocked starts a person's node on a directory with a clock of its own.
func clocked(t *testing.T, n *carriertest.Network, name, dir string, clock *wallClock, host carrier.Net) *person {
	t.Helper()
	s, err := store.Open(dir, store.Secret{})
	if err != nil {
		t.Fatal(err)
	}
	p := &person{t: t, net: n, config: carrier.Config{Name: name, Net: host}}
	p.config.Hook(s, s.Prekeys(), clock.now)
	p.start()
	return p
}

// TestClockAheadAndBack has Bob's clock go months ahead, so that a prekey is erased
// to which mail for him lies in the DHT. When the clock is right again Alice seals
// it anew, to the prekey that he tells of, and what he leaves is read, though his
// numbers go on from where they were. The two are never there at once.
func TestClockAheadAndBack(t *testing.T) {
	t.Parallel()
	bubbleWith(t, &carriertest.Options{Routers: 8}, func(t *testing.T, n *carriertest.Network) {
		alice := newPerson(t, n, "Alice")
		dir, host, clock := t.TempDir(), n.Host(), &wallClock{}
		start := func() *person { return clocked(t, n, "Bob", dir, clock, host) }
		bob := start()
		befriend(alice, bob)
		aliceID, bobID := alice.ID(), bob.ID()
		_, first := bob.InsecureKeys()
		bob.leave()
		stored := func(p *person, to carrier.ID, body string) {
			t.Helper()
			p.must(p.send(to, body).WaitStored(within(t, patience)))
		}
		stored(alice, bobID, "left for Bob")
		alice.leave()
		for _, ahead := range []time.Duration{40, 80} {
			clock.set(ahead * 24 * time.Hour)
			bob = start()
			time.Sleep(time.Minute)
			bob.stop()
		}
		clock.set(0)
		bob = start()
		if _, keys := bob.InsecureKeys(); slices.ContainsFunc(keys, func(k store.Prekey) bool { return k.Number == first[0].Number }) {
			t.Fatal("the prekey is not erased: nothing is shown")
		}
		eventually(t, "Bob finds mail that he cannot open", func() bool { return bob.Stats()["courier.drop.prekey"] > 0 })
		stored(bob, aliceID, "left for Alice")
		bob.leave()

		alice.start()
		if got := alice.next(); got.body != "left for Alice" || got.courier != carrier.CourierDHT {
			t.Errorf("Alice got %q by %s", got.body, got.courier)
		}
		time.Sleep(time.Minute) // what she has left is sealed anew
		alice.leave()
		bob = start()
		if got := bob.next(); got.body != "left for Bob" || got.courier != carrier.CourierDHT {
			t.Errorf("Bob got %q by %s", got.body, got.courier)
		}
		bob.nothingElse(time.Minute)
		bob.leave()
	})
}

// unconnected runs a node that has no network, in virtual time.
func unconnected(t *testing.T, dir string, run func(node *carrier.Node)) {
	t.Helper()
	world := lab.New(lab.Options{})
	defer world.Close()
	node, err := carrier.Start(t.Context(), carrier.Config{Dir: dir, NoBootstrap: true, Net: world.Host(netip.MustParseAddr("198.18.0.1"))})
	if err != nil {
		t.Fatal(err)
	}
	run(node)
	if err := node.Close(); err != nil {
		t.Error(err)
	}
}

// numbers are those of a node's prekeys.
func numbers(node *carrier.Node) (list []uint64) {
	_, keys := node.InsecureKeys()
	for _, k := range keys {
		list = append(list, k.Number)
	}
	return list
}

// TestPrekeysNotWritten: while the file of prekeys cannot be written a node goes on
// with those that it has, all of them, and does what is due when it can be.
func TestPrekeysNotWritten(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		unconnected(t, dir, func(*carrier.Node) {})
		s, err := store.Open(dir, store.Secret{})
		if err != nil {
			t.Fatal(err)
		}
		keys := s.Prekeys().All()
		soon := 30 * time.Minute // one is to be erased then, and one to be superseded
		keys[0].Created = time.Now().Add(soon - store.RotateAfter)
		keys = append(keys, store.Prekey{Number: 1, Private: store.Private{1}, Created: time.Now(), Superseded: time.Now().Add(soon - store.EraseAfter)})
		if err := s.Prekeys().Replace(keys); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		unconnected(t, dir, func(node *carrier.Node) {
			before := numbers(node)
			obstacle := filepath.Join(dir, "carrier.prekeys.new") // stands where the new file is to be made
			if err := os.MkdirAll(filepath.Join(obstacle, "x"), 0o700); err != nil {
				t.Fatal(err)
			}
			time.Sleep(150 * time.Minute)
			if got := numbers(node); len(before) != 2 || !slices.Equal(got, before) {
				t.Errorf("prekeys %d, want those that were there before, %d", got, before)
			}
			if err := os.RemoveAll(obstacle); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Hour)
			if got := numbers(node); len(got) != 2 || got[0] != before[1] || got[1] <= before[1] {
				t.Errorf("an hour after the file can be written again the prekeys are %d, want a new one in the place of the first of %d", got, before)
			}
		})
	})
}

// TestPrekeysCrash: a node that has died while it wrote the file of prekeys has
// those of before, or those of after, which hold them too; nothing else is left.
func TestPrekeysCrash(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		var before []store.Prekey
		unconnected(t, dir, func(node *carrier.Node) { _, before = node.InsecureKeys() })
		copied := func(dir string) string {
			to := t.TempDir()
			if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(filepath.Join(to, "carrier.key"), 0o600); err != nil {
				t.Fatal(err)
			}
			return to
		}
		time.Sleep(25 * time.Hour)
		whole := copied(dir)
		unconnected(t, whole, func(*carrier.Node) {}) // what the file is to become
		after, err := os.ReadFile(filepath.Join(whole, "carrier.prekeys"))
		if err != nil {
			t.Fatal(err)
		}
		for name, left := range map[string]struct {
			file string
			b    []byte
		}{
			"nothing of it":           {"carrier.prekeys.new", nil},
			"half of it":              {"carrier.prekeys.new", after[:len(after)/2]},
			"all of it, not in place": {"carrier.prekeys.new", after},
			"all of it":               {"carrier.prekeys", after},
		} {
			// The next start has a prekey to make, and so writes the file anew, or has not.
			for next, dir := range map[string]string{"due": dir, "not due": whole} {
				crashed := copied(dir)
				if err := os.WriteFile(filepath.Join(crashed, left.file), left.b, 0o600); err != nil {
					t.Fatal(err)
				}
				unconnected(t, crashed, func(node *carrier.Node) {
					_, got := node.InsecureKeys()
					if len(before) != 1 || len(got) != 2 || got[0].Number != before[0].Number || got[0].Private != before[0].Private {
						t.Errorf("%s was written, the next is %s: %d prekeys, want that of before and a new one", name, next, len(got))
					}
				})
				if names, err := filepath.Glob(filepath.Join(crashed, "*.new")); err != nil || len(names) > 0 {
					t.Errorf("%s was written, the next is %s: %q is left, %v", name, next, names, err)
				}
			}
		}
	})
}
