package carrier_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strings"

	"github.com/gocarrier/carrier"
)

// What works with a net.Listener and a net.Conn works between friends: here
// HTTP, without a server's address, a name or a certificate.
func ExampleNode_Listen() {
	alice, bob := exampleFriends()

	// Bob's program. Whoever asks is one of his friends.
	ln, err := bob.Listen("http", nil)
	if err != nil {
		log.Fatal(err)
	}
	defer ln.Close()
	go func() {
		_ = http.Serve(ln, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprintf(w, "%s is here", r.URL.Path[1:])
		})) // until the listener closes
	}()

	// Alice's program.
	friend, err := alice.Friend(bob.ID())
	if err != nil {
		log.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return friend.Dial(ctx, "http")
		},
	}}
	defer client.CloseIdleConnections()
	for _, name := range []string{"Bob", "everything"} {
		answer, err := client.Get("http://bob/" + name)
		if err != nil {
			log.Fatal(err)
		}
		text, err := io.ReadAll(answer.Body)
		if err != nil {
			log.Fatal(err)
		}
		if err := answer.Body.Close(); err != nil {
			log.Fatal(err)
		}
		fmt.Println(answer.Status, string(text))
	}
	// Output:
	// 200 OK Bob is here
	// 200 OK everything is here
}

// Dial gives a session with one stream: a net.Conn that is closed as a whole, or
// one half at a time.
func ExampleFriend_Dial() {
	alice, bob := exampleFriends()
	ctx := context.Background()

	// Bob's program sends back what it is sent.
	ln, err := bob.Listen("echo", nil)
	if err != nil {
		log.Fatal(err)
	}
	defer ln.Close()
	go func() {
		conn, err := ln.Accept()
		if err != nil {
			log.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprintf(conn, "hello %s, ", conn.RemoteAddr().(carrier.Addr).Service)
		if _, err := io.Copy(conn, conn); err != nil {
			log.Fatal(err)
		}
	}()

	// Alice's program.
	friend, err := alice.Friend(bob.ID())
	if err != nil {
		log.Fatal(err)
	}
	conn, err := friend.Dial(ctx, "echo") // waits until Bob is online
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "is anybody there?\n"); err != nil {
		log.Fatal(err)
	}
	if err := conn.CloseWrite(); err != nil { // Bob reads io.EOF; we go on reading
		log.Fatal(err)
	}
	if _, err := io.Copy(os.Stdout, conn); err != nil {
		log.Fatal(err)
	}
	// Output:
	// hello echo, is anybody there?
}

// A session can carry a word on what it is for, and is accepted or refused with a
// reason.
func ExampleNode_ListenSessions() {
	alice, bob := exampleFriends()
	ctx := context.Background()

	// Bob's program plays chess, and nothing else.
	sessions, err := bob.ListenSessions("game/1", nil)
	if err != nil {
		log.Fatal(err)
	}
	defer sessions.Close()
	go func() {
		for {
			request, err := sessions.Accept(ctx)
			if err != nil {
				return // the listener is closed
			}
			if game := string(request.Metadata()); game != "chess" {
				if err := request.Refuse("I do not play " + game); err != nil {
					log.Fatal(err)
				}
				continue
			}
			session, err := request.Accept()
			if err != nil {
				log.Fatal(err)
			}
			stream, err := session.OpenStream(ctx, nil) // either end may open one
			if err != nil {
				log.Fatal(err)
			}
			fmt.Fprint(stream, "e4")
			if err := session.Close(); err != nil { // what was written still arrives
				log.Fatal(err)
			}
		}
	}()

	// Alice's program.
	friend, err := alice.Friend(bob.ID())
	if err != nil {
		log.Fatal(err)
	}
	_, err = friend.NewSession(ctx, "game/1", &carrier.SessionOptions{Metadata: []byte("poker")})
	fmt.Println("refused:", errors.Is(err, carrier.ErrSessionRefused))

	session, err := friend.NewSession(ctx, "game/1", &carrier.SessionOptions{Metadata: []byte("chess")})
	if err != nil {
		log.Fatal(err)
	}
	stream, err := session.AcceptStream(ctx)
	if err != nil {
		log.Fatal(err)
	}
	move, err := io.ReadAll(stream)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("first move: %s\n", move)
	<-session.Done()
	fmt.Println("over:", errors.Is(session.Err(), carrier.ErrPeerClosed))
	// Output:
	// refused: true
	// first move: e4
	// over: true
}

// Allow decides on each request before the program sees it.
func ExampleListenOptions() {
	alice, bob := exampleFriends()
	ln, err := bob.Listen("diary", &carrier.ListenOptions{
		Allow: func(request *carrier.SessionRequest) error {
			if request.Friend().Label() != "family" {
				return errors.New("for the family only")
			}
			return nil
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer ln.Close()

	friend, err := alice.Friend(bob.ID())
	if err != nil {
		log.Fatal(err)
	}
	_, err = friend.Dial(context.Background(), "diary")
	fmt.Println(errors.Is(err, carrier.ErrSessionRefused), strings.Contains(err.Error(), "for the family only"))
	// Output:
	// true true
}

// On a datagram stream one Write is one datagram, which arrives whole, or not at
// all: for voice, games, and what is old when it is late.
func ExampleSession_OpenStream_datagram() {
	alice, bob := exampleFriends()
	ctx := context.Background()
	sessions, err := bob.ListenSessions("position", nil)
	if err != nil {
		log.Fatal(err)
	}
	defer sessions.Close()

	// Bob's program prints where Alice is, twice.
	done := make(chan struct{})
	go func() {
		defer close(done)
		request, err := sessions.Accept(ctx)
		if err != nil {
			log.Fatal(err)
		}
		session, err := request.Accept()
		if err != nil {
			log.Fatal(err)
		}
		defer session.Close()
		stream, err := session.AcceptStream(ctx)
		if err != nil {
			log.Fatal(err)
		}
		buf := make([]byte, stream.MaxDatagramSize())
		for range 2 {
			n, err := stream.Read(buf)
			if err != nil {
				log.Fatal(err)
			}
			fmt.Printf("%s: %s\n", stream.Mode(), buf[:n])
		}
	}()

	// Alice's program.
	friend, err := alice.Friend(bob.ID())
	if err != nil {
		log.Fatal(err)
	}
	session, err := friend.NewSession(ctx, "position", nil)
	if err != nil {
		log.Fatal(err)
	}
	defer session.Close()
	stream, err := session.OpenStream(ctx, &carrier.StreamOptions{Mode: carrier.Datagram})
	if err != nil {
		log.Fatal(err)
	}
	for _, at := range []string{"47.37 N 8.54 E", "47.38 N 8.54 E"} {
		if _, err := stream.Write([]byte(at)); err != nil {
			log.Fatal(err)
		}
	}
	<-done
	// Output:
	// datagram: 47.37 N 8.54 E
	// datagram: 47.38 N 8.54 E
}
