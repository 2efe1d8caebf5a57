// Command flood measures what a flood of friend requests does on a DHT that is
// there. Somebody who has a node's Address shuts all its fixed buckets with the
// highest sequence number there is, and fills many random ones, announced as
// honest ones are, with valid requests of throw-away identities. Somebody honest
// asks meanwhile, and somebody by a new address.
//
//	go run . -bootstrap host:port,… [-requests n] [-hosts n]
//
// All is on 127.0.0.0/8. The exit status is 0 if both honest requests were shown
// in time.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gocarrier/carrier"
	"github.com/gocarrier/carrier/crypto"
	"github.com/gocarrier/carrier/dht"
	"github.com/gocarrier/carrier/internal/wire"
)

func main() {
	bootstrap := flag.String("bootstrap", "", "comma-separated host:port of nodes of the DHT")
	requests := flag.Int("requests", 300, "how many requests the flood has")
	hosts := flag.Int("hosts", 10, "from how many addresses it comes")
	patience := flag.Duration("patience", 20*time.Minute, "how long an honest request may take")
	flag.Parse()
	if err := run(strings.Split(*bootstrap, ","), *requests, *hosts, *patience); err != nil {
		fmt.Fprintln(os.Stderr, "flood:", err)
		os.Exit(1)
	}
}

func run(bootstrap []string, requests, hosts int, patience time.Duration) error {
	ctx := context.Background()
	alice, err := start(ctx, "Alice", "127.110.0.1:0", bootstrap)
	if err != nil {
		return err
	}
	defer alice.Close()
	f := flooder{to: alice.Address(), day: crypto.Day(time.Now())}
	for i := range hosts {
		by, err := f.host(ctx, netip.AddrFrom4([4]byte{127, 120, byte(i), 1}), bootstrap)
		if err != nil {
			return err
		}
		defer by.Close()
		f.hosts = append(f.hosts, by)
	}
	began := time.Now()
	f.flood(ctx, requests)
	fmt.Printf("%d of %d requests put in %.0f s, and %d of 16 fixed buckets\n", f.put.Load(), requests, time.Since(began).Seconds(), f.fixed.Load())

	err = honest(ctx, "Carol", "127.111.0.1:0", alice, alice.Address(), bootstrap, patience)
	fmt.Printf("%d requests are pending\n", len(alice.Requests()))
	stats := alice.Stats()
	for _, name := range slices.Sorted(maps.Keys(stats)) {
		if strings.Contains(name, "request") || strings.Contains(name, "future") {
			fmt.Printf("%s %d\n", name, stats[name])
		}
	}
	if err != nil {
		return err
	}
	fresh, err := alice.NewAddress()
	if err != nil {
		return err
	}
	return honest(ctx, "Dave", "127.112.0.1:0", alice, fresh, bootstrap, time.Minute)
}

func start(ctx context.Context, name, at string, bootstrap []string) (*carrier.Node, error) {
	node, err := carrier.Start(ctx, carrier.Config{Ephemeral: true, Name: name, Listen: at, Bootstrap: bootstrap})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := node.WaitReady(ctx); err != nil {
		return nil, errors.Join(err, node.Close())
	}
	return node, nil
}

// honest has somebody new ask a node, and says how long that took to be shown.
func honest(ctx context.Context, name, at string, node *carrier.Node, to carrier.Address, bootstrap []string, patience time.Duration) error {
	who, err := start(ctx, name, at, bootstrap)
	if err != nil {
		return err
	}
	defer who.Close()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	events := node.Events(ctx)
	began := time.Now()
	friend, err := who.AddFriend(ctx, to, "it's me")
	if err != nil {
		return err
	}
	for ev := range events {
		if r, ok := ev.(carrier.FriendRequest); ok && r.ID == who.ID() {
			fmt.Printf("%s was shown after %.1f s\n", name, time.Since(began).Seconds())
			return nil
		}
	}
	return fmt.Errorf("%s was not shown within %v; her request is %s", name, patience, friend.State())
}

// flooder has an Address, and as many hosts and identities as it likes.
type flooder struct {
	to         carrier.Address
	day        crypto.Epoch
	hosts      []*dht.Node
	put, fixed atomic.Int64
}

// host is a node that takes part in the DHT only as much as it must.
func (f *flooder) host(ctx context.Context, at netip.Addr, bootstrap []string) (*dht.Node, error) {
	conn, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(at, 0)))
	if err != nil {
		return nil, err
	}
	node, err := dht.New(dht.Config{
		Conns: []net.PacketConn{conn}, ReadOnly: true,
		Bootstrap: func(context.Context) ([]netip.AddrPort, error) {
			var addrs []netip.AddrPort
			for _, s := range bootstrap {
				addr, err := netip.ParseAddrPort(s)
				if err != nil {
					return nil, err
				}
				addrs = append(addrs, addr)
			}
			return addrs, nil
		},
	})
	if err != nil {
		return nil, err
	}
	if err := node.Join(ctx); err != nil {
		return nil, errors.Join(err, node.Close())
	}
	return node, nil
}

// flood fills the fixed buckets, and random ones, from all hosts at once.
func (f *flooder) flood(ctx context.Context, requests int) {
	var wait sync.WaitGroup
	for i, by := range f.hosts {
		wait.Go(func() {
			for bucket := i; bucket < crypto.FixedBuckets; bucket += len(f.hosts) {
				if f.place(ctx, by, crypto.FirstFixedBucket+uint32(bucket), math.MaxInt64) == nil {
					f.fixed.Add(1)
				}
			}
			for range requests / len(f.hosts) {
				bucket := 1 + uint32(rand.IntN(crypto.RandomBuckets))
				if f.place(ctx, by, bucket, time.Now().Add(dht.MaxAhead-time.Minute).UnixMilli()) != nil {
					continue
				}
				if _, err := by.Announce(ctx, f.to.RequestBell(f.day), uint16(bucket)); err == nil {
					f.put.Add(1)
				}
			}
		})
	}
	wait.Wait()
}

// place puts a valid request of a new identity into a bucket.
func (f *flooder) place(ctx context.Context, by *dht.Node, bucket uint32, seq int64) error {
	now := time.Now()
	who := crypto.NewIdentity()
	r := &wire.Request{
		From: who.ID(), Incarnation: crypto.NewIncarnation(now, crypto.Incarnation{}), Nospam: f.to.Nospam, Number: 1 << 62,
		Time: now.UnixMilli(), Expiry: now.Add(31 * 24 * time.Hour).UnixMilli(), Format: wire.Format, Start: 7,
		Name: "buy", Hello: "buy my pills", Prekey: wire.Prekey{Number: 1, Public: crypto.NewPrekey().Public()},
	}
	record := wire.AppendRequest(nil, r)
	signature := who.Sign(crypto.Transcript{
		Type: "request", From: r.From, To: f.to.ID, Incarnation: r.Incarnation, Version: r.Number, Body: record,
	})
	body := wire.AppendSigned(nil, signature, record)
	size, ok := wire.PadRequest(len(body))
	if !ok {
		return errors.New("the request is too long")
	}
	info := append([]byte("carrier/1 request"), f.to.ID[:]...)
	value, err := f.to.ID.Seal(info, nil, wire.AppendPlain(nil, wire.KindRequest, body, size))
	if err != nil {
		return err
	}
	_, err = by.Put(ctx, dht.Put{Key: f.to.RequestSlot(f.day, bucket), Value: value, Seq: seq})
	return err
}
