package dht_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"log"
	"net"
	"net/netip"
	"time"

	"github.com/gocarrier/carrier/dht"
)

// A DHT of two nodes on this machine: one writes an item under a key, and the
// other, who knows the public key, reads it.
func Example() {
	ctx, stop := context.WithTimeout(context.Background(), 10*time.Second)
	defer stop()
	start := func(first ...netip.AddrPort) *dht.Node {
		conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
		if err != nil {
			log.Fatal(err)
		}
		node, err := dht.New(dht.Config{
			Conns:     []net.PacketConn{conn},
			Bootstrap: func(context.Context) ([]netip.AddrPort, error) { return first, nil },
		})
		if err != nil {
			log.Fatal(err)
		}
		return node
	}
	one := start() // in the public DHT this is one of its routers
	defer one.Close()
	two := start(one.LocalAddrs()...)
	defer two.Close()
	if err := two.Join(ctx); err != nil {
		log.Fatal(err)
	}

	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		log.Fatal(err)
	}
	result, err := two.Put(ctx, dht.Put{
		Key: private, Salt: []byte("weather"), Value: []byte("fog"), Seq: time.Now().UnixMilli(),
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("copies:", result.Stored)

	_, err = one.Get(ctx, dht.Query{Key: [32]byte(public), Salt: []byte("weather")}, func(item dht.Item) {
		fmt.Printf("%s: %s\n", item.Salt, item.Value)
	})
	if err != nil {
		log.Fatal(err)
	}
	// Output:
	// copies: 1
	// weather: fog
}
