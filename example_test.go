package carrier_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/gocarrier/carrier"
)

// A whole program: it accepts whoever asks, and prints what they say.
func Example() {
	ctx := context.Background()
	node, err := carrier.Start(ctx, carrier.Config{Dir: "alice", Name: "Alice"})
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = node.Shutdown(ctx) }() // nothing to be done about it at the end
	fmt.Println("my address:", node.Address())

	go func() {
		for ev := range node.Events(ctx) {
			if req, ok := ev.(carrier.FriendRequest); ok {
				if _, err := node.Accept(req.ID); err != nil {
					log.Print(err)
				}
			}
		}
	}()
	for msg, err := range node.Messages(ctx) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s: %s\n", msg.From(), msg.Body())
	}
}

// A node in memory, away from every network, for tests.
func ExampleStart() {
	node, err := carrier.Start(context.Background(), carrier.Config{
		Ephemeral:   true,
		Name:        "Alice",
		Listen:      "127.0.0.1:0",
		NoBootstrap: true,
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(node.Profile().Name, "has", len(node.Friends()), "friends")
	fmt.Println(node.Close())
	// Output:
	// Alice has 0 friends
	// <nil>
}

func ExampleStart_error() {
	_, err := carrier.Start(context.Background(), carrier.Config{Name: "Alice"})
	if errors.Is(err, carrier.ErrNoDir) {
		fmt.Println(err)
	}
	// Output:
	// carrier: start: no state directory given; set Config.Dir, or Config.Ephemeral to keep nothing
}

func ExampleParseAddress() {
	_, err := carrier.ParseAddress("not an address")
	fmt.Println(errors.Is(err, carrier.ErrBadAddress))
	// Output:
	// true
}

// A request is a durable local act: the program may end as soon as AddFriend
// has returned, and messages for the new friend wait for acceptance.
func ExampleNode_AddFriend() {
	ctx := context.Background()
	alice, err := carrier.Start(ctx, carrier.Config{Ephemeral: true, Name: "Alice", Listen: "127.0.0.1:0", NoBootstrap: true})
	if err != nil {
		log.Fatal(err)
	}
	defer alice.Close()
	bob, err := carrier.Start(ctx, carrier.Config{Ephemeral: true, Name: "Bob", Listen: "127.0.0.1:0", NoBootstrap: true})
	if err != nil {
		log.Fatal(err)
	}
	defer bob.Close()

	address, err := carrier.ParseAddress(bob.Address().String()) // as Bob's program showed it
	if err != nil {
		log.Fatal(err)
	}
	friend, err := alice.AddFriend(ctx, address, "hi Bob, it's Alice")
	if err != nil {
		log.Fatal(err)
	}
	msg, err := friend.Send(ctx, []byte("do you like fishing?"), nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(friend.State(), "and", msg.State().Status)
	// Output:
	// pending and queued
}

// What a node is in the eyes of others can be carried to another directory, or
// another machine: its key, address, profile and friends, without the messages.
func ExampleNode_ExportIdentity() {
	ctx := context.Background()
	offline := carrier.Config{Ephemeral: true, Name: "Alice", Listen: "127.0.0.1:0", NoBootstrap: true}
	old, err := carrier.Start(ctx, offline)
	if err != nil {
		log.Fatal(err)
	}
	identity, err := old.ExportIdentity() // a secret: see SealIdentity
	if err != nil {
		log.Fatal(err)
	}
	if err := old.Close(); err != nil { // the two must not run at the same time
		log.Fatal(err)
	}

	offline.Identity = identity
	fresh, err := carrier.Start(ctx, offline)
	if err != nil {
		log.Fatal(err)
	}
	defer fresh.Close()
	fmt.Println("the same ID:", fresh.ID() == old.ID())
	fmt.Println("the same address:", fresh.Address() == old.Address())
	// Output:
	// the same ID: true
	// the same address: true
}

// An address that too many people have can be made dead. Friends stay.
func ExampleNode_NewAddress() {
	node, err := carrier.Start(context.Background(), carrier.Config{Ephemeral: true, Listen: "127.0.0.1:0", NoBootstrap: true})
	if err != nil {
		log.Fatal(err)
	}
	defer node.Close()
	before := node.Address()
	after, err := node.NewAddress()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("another address:", after != before)
	fmt.Println("of the same person:", after.ID == node.ID())
	// Output:
	// another address: true
	// of the same person: true
}

// Every reader begins with what is, and then gets what is new.
func ExampleNode_Events() {
	ctx := context.Background()
	node, err := carrier.Start(ctx, carrier.Config{Ephemeral: true, Listen: "127.0.0.1:0", NoBootstrap: true})
	if err != nil {
		log.Fatal(err)
	}
	defer node.Close()
	for ev := range node.Events(ctx) {
		switch ev := ev.(type) {
		case carrier.Connected:
			fmt.Println("connected:", ev.Connected)
		case carrier.FriendChanged:
			fmt.Println(ev.Friend, "is", ev.State)
		case carrier.FriendPresence:
			fmt.Println(ev.Friend, "is", ev.Presence)
		case carrier.Synced:
			fmt.Println("that is all for now")
			return
		}
	}
	// Output:
	// connected: false
	// that is all for now
}
