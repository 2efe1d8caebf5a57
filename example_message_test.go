package carrier_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/gocarrier/carrier"
)

// Send is a durable local act; how far the message has come can be waited for,
// asked (Message.State) or heard of (the event MessageChanged).
func ExampleFriend_Send() {
	alice, bob := exampleFriends()
	ctx := context.Background()
	friend, err := alice.Friend(bob.ID())
	if err != nil {
		log.Fatal(err)
	}

	msg, err := friend.Send(ctx, []byte("hello"), &carrier.SendOptions{Expiry: time.Now().Add(24 * time.Hour)})
	if err != nil {
		log.Fatal(err)
	}
	// It is in the outbox now and travels by itself. To wait is a choice.
	if err := msg.WaitDelivered(ctx); err != nil {
		log.Fatal(err) // carrier.ErrExpired, ErrRefused, ErrCancelled
	}
	fmt.Println(msg.State().Status)

	readOne(bob)
	// Output:
	// delivered
	// Alice: hello
}

// A message is consumed when the body of the loop completes. Whoever breaks out
// of the loop, or dies in it, is given the message again.
func ExampleNode_Messages() {
	alice, bob := exampleFriends()
	ctx := context.Background()
	friend, err := alice.Friend(bob.ID())
	if err != nil {
		log.Fatal(err)
	}
	for _, text := range []string{"one", "two", "three"} {
		if _, err := friend.Send(ctx, []byte(text), nil); err != nil {
			log.Fatal(err)
		}
	}

	for msg, err := range bob.Messages(ctx) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("looked at %s\n", msg.Body())
		break // not consumed
	}
	for msg, err := range bob.Messages(ctx) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s\n", msg.Body())
		if string(msg.Body()) == "three" {
			if err := msg.Done(); err != nil { // consumed, although the loop ends here
				log.Fatal(err)
			}
			break
		}
	}
	// Output:
	// looked at one
	// one
	// two
	// three
}

// Done returns when the message is deleted from the store: a program that has it
// in a place of its own by then, under its ID, neither loses nor doubles one,
// wherever it is killed.
func ExampleMessage_Done() {
	alice, bob := exampleFriends()
	ctx := context.Background()
	friend, err := alice.Friend(bob.ID())
	if err != nil {
		log.Fatal(err)
	}
	for _, text := range []string{"10 apples", "1 melon"} {
		if _, err := friend.Send(ctx, []byte(text), nil); err != nil {
			log.Fatal(err)
		}
	}

	orders := map[carrier.MessageID]string{} // a database
	for msg, err := range bob.Messages(ctx) {
		if err != nil {
			log.Fatal(err)
		}
		orders[msg.ID()] = string(msg.Body()) // the same row if it comes again
		if err := msg.Done(); err != nil {
			log.Fatal(err)
		}
		if len(orders) == 2 {
			break
		}
	}
	fmt.Println(len(orders), "orders, next message: none")
	// Output:
	// 2 orders, next message: none
}

// A program that ends after Send goes on with its outbox at the next start. One
// that would rather not leave a message behind waits until it lies in the DHT for
// the friend, or has been delivered.
func ExampleMessage_WaitStored() {
	alice, bob := exampleFriends()
	ctx, stop := context.WithTimeout(context.Background(), time.Minute)
	defer stop()
	friend, err := alice.Friend(bob.ID())
	if err != nil {
		log.Fatal(err)
	}

	msg, err := friend.Send(ctx, []byte("the key is under the mat"), nil)
	if err != nil {
		log.Fatal(err)
	}
	if err := msg.WaitStored(ctx); err != nil {
		log.Fatal(err)
	}
	fmt.Println("this machine may be turned off now")

	readOne(bob)
	// Output:
	// this machine may be turned off now
	// Alice: the key is under the mat
}

// What a person shows to friends is a state, not a message: friends see the
// newest one.
func ExampleNode_SetPresence() {
	alice, bob := exampleFriends()
	ctx, stop := context.WithCancel(context.Background())
	defer stop()

	events := alice.Events(ctx)
	if err := bob.SetPresence(carrier.PresenceAway); err != nil {
		log.Fatal(err)
	}
	for ev := range events {
		if ev, ok := ev.(carrier.FriendPresence); ok && ev.Presence == carrier.PresenceAway {
			fmt.Println(ev.Friend.Name(), "is", ev.Presence)
			break
		}
	}
	// Output:
	// Bob is away
}

// A profile is what friends are told; a label is one's own name for a friend.
func ExampleNode_SetProfile() {
	alice, bob := exampleFriends()
	ctx, stop := context.WithCancel(context.Background())
	defer stop()

	events := bob.Events(ctx)
	if err := alice.SetProfile(carrier.Profile{Name: "Alice", Description: "gone fishing"}); err != nil {
		log.Fatal(err)
	}
	for ev := range events {
		ev, ok := ev.(carrier.FriendProfile)
		if !ok || ev.Description == "" {
			continue
		}
		fmt.Printf("%s: %s\n", ev.Name, ev.Description)
		if err := ev.Friend.SetLabel("my sister"); err != nil {
			log.Fatal(err)
		}
		fmt.Println("shown as", ev.Friend.Name())
		if err := ev.Friend.SetLabel(""); err != nil { // back to the name that she gives herself
			log.Fatal(err)
		}
		break
	}
	// Output:
	// Alice: gone fishing
	// shown as my sister
}
