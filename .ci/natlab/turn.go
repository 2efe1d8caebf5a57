package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/pion/turn/v5"
)

const (
	realm    = "natlab"
	user     = "friend"
	password = "of the relay"
)

// runTURN runs a TURN server at address until ctx ends. All that it gets from
// its clients and from those who send to relayed addresses goes into the file
// capture.
func runTURN(ctx context.Context, address, capture string) (err error) {
	file, err := os.Create(capture)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	notes := &recorder{file: file}
	conn, err := net.ListenPacket("udp4", address)
	if err != nil {
		return err
	}
	ip := conn.LocalAddr().(*net.UDPAddr).IP
	server, err := turn.NewServer(turn.ServerConfig{
		Realm: realm,
		AuthHandler: func(a *turn.RequestAttributes) (string, []byte, bool) {
			return a.Username, turn.GenerateAuthKey(a.Username, realm, password), a.Username == user
		},
		PacketConnConfigs: []turn.PacketConnConfig{{
			PacketConn: &recorded{conn, notes},
			RelayAddressGenerator: &relayed{
				RelayAddressGeneratorStatic: turn.RelayAddressGeneratorStatic{RelayAddress: ip, Address: ip.String()}, notes: notes,
			},
		}},
	})
	if err != nil {
		return errors.Join(err, conn.Close())
	}
	fmt.Println("ready")
	<-ctx.Done()
	return errors.Join(server.Close(), notes.failed())
}

// recorder writes datagrams to a file, one after the other.
type recorder struct {
	mu   sync.Mutex
	file *os.File
	err  error
}

func (r *recorder) note(b []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, err := r.file.Write(b)
	r.err = errors.Join(r.err, err)
}

func (r *recorder) failed() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

// recorded is a socket of which all that comes in is noted.
type recorded struct {
	net.PacketConn
	notes *recorder
}

func (c *recorded) ReadFrom(b []byte) (int, net.Addr, error) {
	n, from, err := c.PacketConn.ReadFrom(b)
	if n > 0 {
		c.notes.note(b[:n])
	}
	return n, from, err
}

// relayed makes relayed addresses whose sockets are recorded.
type relayed struct {
	turn.RelayAddressGeneratorStatic
	notes *recorder
}

func (g *relayed) AllocatePacketConn(c turn.AllocateListenerConfig) (net.PacketConn, net.Addr, error) {
	conn, at, err := g.RelayAddressGeneratorStatic.AllocatePacketConn(c)
	if err != nil {
		return nil, nil, err
	}
	return &recorded{conn, g.notes}, at, nil
}

// leak sends words in clear through the TURN server at address, to itself: a
// capture in which search does not find them afterwards proves nothing.
func leak(ctx context.Context, address, words string) (err error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	conn, err := net.ListenPacket("udp4", ":0")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	client, err := turn.NewClient(&turn.ClientConfig{
		STUNServerAddr: address, TURNServerAddr: address, Conn: conn, Username: user, Password: password, Realm: realm,
	})
	if err != nil {
		return err
	}
	defer client.Close()
	if err := client.Listen(); err != nil {
		return err
	}
	relay, err := client.Allocate()
	if err != nil {
		return fmt.Errorf("allocate: %w", err)
	}
	defer func() { err = errors.Join(err, relay.Close()) }()
	sink, err := net.ListenPacket("udp4", ":0")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, sink.Close()) }()
	mapped, err := client.SendBindingRequest()
	if err != nil {
		return err
	}
	to := &net.UDPAddr{IP: mapped.(*net.UDPAddr).IP, Port: sink.LocalAddr().(*net.UDPAddr).Port}
	if _, err := relay.WriteTo([]byte(words), to); err != nil {
		return fmt.Errorf("send by the relay: %w", err)
	}
	if err := sink.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return err
	}
	got := make([]byte, 2000)
	n, _, err := sink.ReadFrom(got)
	if err != nil {
		return fmt.Errorf("receive from the relay: %w", err)
	}
	if string(got[:n]) != words {
		return fmt.Errorf("the relay gave %q, want %q", got[:n], words)
	}
	return nil
}

// search fails if the capture holds one of the words. A word that begins with
// "hex:" is bytes.
func search(capture string, words []string) error {
	data, err := os.ReadFile(capture)
	if err != nil {
		return err
	}
	for _, word := range words {
		want := []byte(word)
		if digits, ok := strings.CutPrefix(word, "hex:"); ok {
			if want, err = hex.DecodeString(digits); err != nil {
				return err
			}
		}
		if len(want) < 8 {
			return fmt.Errorf("%q is too short to be no chance", word)
		}
		if at := bytes.Index(data, want); at >= 0 {
			return fmt.Errorf("the capture has %q at %d of %d bytes", word, at, len(data))
		}
	}
	fmt.Printf("none of %d words in %d bytes\n", len(words), len(data))
	return nil
}
