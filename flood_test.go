package carrier_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocarrier/carrier"
	"github.com/gocarrier/carrier/carriertest"
	"github.com/gocarrier/carrier/crypto"
	"github.com/gocarrier/carrier/dht"
	"github.com/gocarrier/carrier/internal/wire"
)

var floodRequests = flag.Int("flood-requests", 240, "valid requests that TestFloodOfAnAddress puts into the DHT")

const maxNumber = 1 << 62 // the highest that a request may have

// flooder is somebody who has an Address, many hosts, and as many identities as
// they like.
type flooder struct {
	t     *testing.T
	to    carrier.Address
	hosts []*stranger
}

// maximal is a request as large, lasting and with as high a number as there may
// be.
func maximal(from carrier.ID, to carrier.Address, hello string) *wire.Request {
	now := time.Now()
	return &wire.Request{
		From: from, Incarnation: crypto.NewIncarnation(now, crypto.Incarnation{}), Nospam: to.Nospam, Number: maxNumber,
		Time: now.UnixMilli(), Expiry: now.Add(31 * 24 * time.Hour).UnixMilli(), Format: wire.Format, Start: 7,
		Name: strings.Repeat("n", wire.MaxName), Hello: (hello + strings.Repeat("!", wire.MaxHello))[:wire.MaxHello],
		Prekey: wire.Prekey{Number: 1, Public: crypto.NewPrekey().Public()},
	}
}

// request makes a valid request of a new identity and seals it for the target.
func (f *flooder) request(hello string) []byte {
	who := stranger{identity: crypto.NewIdentity()}
	r := maximal(who.id(), f.to, hello)
	body := who.sign("request", f.to.ID, r.Incarnation, r.Number, wire.AppendRequest(nil, r))
	size, ok := wire.PadRequest(len(body))
	if !ok {
		f.t.Fatal("the request is too long")
	}
	info := append([]byte("carrier/1 request"), f.to.ID[:]...)
	value, err := f.to.ID.Seal(info, nil, wire.AppendPlain(nil, wire.KindRequest, body, size))
	if err != nil {
		f.t.Fatal(err)
	}
	return value
}

// put places a request under the highest seq that nodes take, and rings the bell
// for it if the bucket is a random one. In a flood some get lost.
func (f *flooder) put(by *stranger, bucket uint32, hello string) error {
	day := crypto.Day(time.Now())
	p := dht.Put{
		Key: f.to.RequestSlot(day, bucket), Value: f.request(hello), Seq: time.Now().Add(dht.MaxAhead - time.Minute).UnixMilli(),
	}
	if _, err := by.dht.Put(f.t.Context(), p); err != nil {
		return err
	}
	if bucket > crypto.RandomBuckets {
		return nil
	}
	_, err := by.dht.Announce(f.t.Context(), f.to.RequestBell(day), uint16(bucket))
	return err
}

// flood has all hosts put n requests in all, and meanwhile again and again one
// into each fixed bucket.
func (f *flooder) flood(n int, during time.Duration) (lost int) {
	var wait sync.WaitGroup
	var mu sync.Mutex
	each := n / len(f.hosts)
	for i, by := range f.hosts {
		wait.Go(func() {
			for j := range each {
				bucket := 1 + uint32(rand.IntN(crypto.RandomBuckets))
				if j%4 == 0 {
					bucket = crypto.FirstFixedBucket + uint32((i+j)%crypto.FixedBuckets)
				}
				if f.put(by, bucket, fmt.Sprint("buy ", i, " ", j)) != nil {
					mu.Lock()
					lost++
					mu.Unlock()
				}
				time.Sleep(during / time.Duration(each))
			}
		})
	}
	wait.Wait()
	return lost
}

// TestFloodOfAnAddress: valid requests of throw-away identities, by all ways there
// are, from many hosts, shut nobody out who comes during the flood or after it,
// and a new address is free of them.
func TestFloodOfAnAddress(t *testing.T) {
	t.Parallel()
	bubbleWith(t, &carriertest.Options{Routers: 8}, func(t *testing.T, n *carriertest.Network) {
		alice := n.Node("Alice")
		mallory := &flooder{t: t, to: alice.Address()}
		for range 6 {
			s := newStranger(t, n)
			defer s.close(t)
			mallory.hosts = append(mallory.hosts, s)
		}
		host := mallory.hosts[0].host // the network that it shares with all who come
		shown := record(t, alice)
		during := time.Duration(*floodRequests) * time.Second // four times as fast as Alice reads
		lost := make(chan int, 1)
		go func() { lost <- mallory.flood(*floodRequests, during) }()

		asks := func(name string, to carrier.Address) (who *carrier.Node, took time.Duration) {
			t.Helper()
			who = n.Node(name)
			events := alice.Events(within(t, 4*time.Hour))
			begun := time.Now()
			if _, err := who.AddFriend(t.Context(), to, "it's me"); err != nil {
				t.Fatal(err)
			}
			if _, err := requestOf(events, who.ID()); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			return who, time.Since(begun).Round(time.Millisecond)
		}
		befriends := func(who *carrier.Node) {
			t.Helper()
			friend, err := alice.Accept(who.ID())
			if err != nil {
				t.Fatal(err)
			}
			if err := friend.WaitOnline(within(t, patience)); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(during / 2)
		carol, first := asks("Carol", alice.Address())
		befriends(carol)
		if got := <-lost; got > *floodRequests/4 {
			t.Errorf("%d requests of the flood were not put", got)
		}
		for beyond(host, n) {
		}
		dave, second := asks("Dave", alice.Address())
		befriends(dave)

		time.Sleep(5 * time.Minute)
		seen := map[carrier.ID]bool{}
		for _, r := range eventsOf[carrier.FriendRequest](shown) {
			seen[r.ID] = true
		}
		if got := len(alice.Requests()); got > 256 || len(seen) < min(*floodRequests/2, 257) {
			t.Errorf("%d requests are pending, %d of %d were shown; want at most 256, and half of a flood this small", got, len(seen), *floodRequests)
		}
		fresh, err := alice.NewAddress()
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		before := len(eventsOf[carrier.FriendRequest](shown))
		erin, third := asks("Erin", fresh)
		befriends(erin)
		time.Sleep(4 * time.Minute) // over the fixed buckets too
		if got := len(eventsOf[carrier.FriendRequest](shown)) - before; got != 1 {
			t.Errorf("%d requests were shown after the new address, want Erin's", got)
		}
		t.Logf("%d valid requests by 6 hosts, %d shown: an honest one of their network was shown %v after it was sent, one of another network after %v, by the new address after %v",
			*floodRequests, len(seen), first, second, third)
		for _, c := range []struct {
			name        string
			took, limit time.Duration
		}{{"from the flood's network", first, 30 * time.Minute}, {"from another", second, time.Minute}, {"by the new address", third, 15 * time.Second}} {
			if c.took > c.limit {
				t.Errorf("%s an honest request was shown after %v, want %v", c.name, c.took, c.limit)
			}
		}
	})
}

// beyond reports whether the next host of the network shares a /24 with another,
// and uses one up.
func beyond(at netip.Addr, n *carriertest.Network) bool {
	local, err := n.Host().LocalAddrs()
	return err == nil && netip.PrefixFrom(at, 24).Masked().Contains(local[0].Addr())
}

// TestThousandsOfValidRequests: 5,000 of them, found one after the other, cost a
// bounded amount of memory and disk and hold up neither an honest request nor
// anything else; those that are pending are there after a restart.
func TestThousandsOfValidRequests(t *testing.T) { // alone: the heap is measured
	bubbleWith(t, &carriertest.Options{Routers: 3}, func(t *testing.T, n *carriertest.Network) {
		const batch = 50
		alice, bob := newPerson(t, n, "Alice"), newPerson(t, n, "Bob")
		befriend(alice, bob)
		carol := n.Node("Carol")
		unread := alice.Events(within(t, time.Hour)) // a program that does not look
		flood := func(from, to int) {
			for i := from; i < to; i += batch {
				var list []*wire.Request
				for j := range batch {
					list = append(list, maximal(carrier.ID{1, byte((i + j) >> 8), byte(i + j)}, alice.Address(), "buy"))
				}
				alice.Requested(list)
				if got := len(alice.Requests()); got > 256 {
					t.Errorf("after %d requests %d are pending", i+batch, got)
					return
				}
				time.Sleep(time.Second)
			}
		}
		flood(0, 1500)
		atFirst := liveHeap()
		events := alice.Events(within(t, patience))
		begun := time.Now()
		if _, err := carol.AddFriend(t.Context(), alice.Address(), "it's me"); err != nil {
			t.Fatal(err)
		}
		var meanwhile sync.WaitGroup
		meanwhile.Go(func() { flood(1500, 2500) }) // 50 every second
		if _, err := requestOf(events, carol.ID()); err != nil {
			t.Fatal(err)
		}
		took := time.Since(begun)
		friend := alice.accept(carol.ID()) // a program that knows what to look for
		alice.must(friend.WaitOnline(within(t, patience)))
		bob.delivered(bob.send(alice.ID(), "all as ever"))
		meanwhile.Wait()
		flood(2500, 5000)
		grown := int64(liveHeap()) - int64(atFirst)
		t.Logf("an honest request was shown %v after it was sent; the last 3,500 of 5,000 took %d KiB of heap", took, grown>>10)
		if took > 15*time.Second {
			t.Errorf("an honest request was shown after %v, want 15 s", took)
		}
		if grown > 2<<20 {
			t.Errorf("3,500 requests more than there is room for took %d KiB of heap", grown>>10)
		}
		lagged := false
		for ev := range unread {
			if _, ok := ev.(carrier.Lagged); ok {
				lagged = true
			}
			if _, ok := ev.(carrier.Synced); ok && lagged {
				break
			}
		}
		pending := alice.Requests()
		alice.stop()
		alice.start()
		if got := alice.Requests(); len(got) != 256 || !slices.Equal(got, pending) {
			t.Errorf("%d requests are pending after a restart, want the same %d, of 256", len(got), len(pending))
		}
		alice.must(alice.friend(carol.ID()).WaitOnline(within(t, patience)))
	})
}
