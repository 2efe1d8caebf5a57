package carrier_test

import (
	"context"
	"fmt"
	"log"

	"github.com/gocarrier/carrier"
)

// Two people, from nothing to a message with its receipt. Both nodes run here,
// in memory and on this machine only: Bob's finds the DHT at Alice's. Without
// Ephemeral, Listen and Bootstrap the two are on different machines, with the
// public DHT between them.
func Example_twoPeople() {
	ctx := context.Background()
	alice, err := carrier.Start(ctx, carrier.Config{
		Ephemeral: true, Name: "Alice", Listen: "127.0.0.1:0", NoBootstrap: true,
	})
	if err != nil {
		log.Fatal(err)
	}
	defer alice.Close()
	bob, err := carrier.Start(ctx, carrier.Config{
		Ephemeral: true, Name: "Bob", Listen: "127.0.0.1:0", Bootstrap: []string{alice.LocalAddrs()[0].String()},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer bob.Close()

	// Bob's program: whoever says the word is a friend.
	events := bob.Events(ctx)
	go func() {
		for ev := range events {
			request, ok := ev.(carrier.FriendRequest)
			if !ok {
				continue
			}
			fmt.Printf("Bob is asked by %s: %s\n", request.Name, request.Hello)
			if request.Hello != "we met at the lake" {
				if err := bob.Refuse(request.ID); err != nil {
					log.Fatal(err)
				}
			} else if _, err := bob.Accept(request.ID); err != nil {
				log.Fatal(err)
			}
		}
	}()

	// Alice's program. She has Bob's address, by mail or from a sheet of paper.
	friend, err := alice.AddFriend(ctx, bob.Address(), "we met at the lake")
	if err != nil {
		log.Fatal(err)
	}
	if err := friend.WaitAccepted(ctx); err != nil {
		log.Fatal(err) // carrier.ErrRefused, if he does not want
	}
	fmt.Println("Alice is accepted")
	msg, err := friend.Send(ctx, []byte("and the fish?"), nil)
	if err != nil {
		log.Fatal(err)
	}
	if err := msg.WaitDelivered(ctx); err != nil {
		log.Fatal(err)
	}

	// Bob's program again.
	for msg, err := range bob.Messages(ctx) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("Bob reads: %s\n", msg.Body())
		break
	}
	// Output:
	// Bob is asked by Alice: we met at the lake
	// Alice is accepted
	// Bob reads: and the fish?
}
