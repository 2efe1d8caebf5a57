package carrier_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/gocarrier/carrier"
)

// An identity is kept safe as a text under a passphrase: printed, or in a file
// on some other disk.
func ExampleSealIdentity() {
	ctx := context.Background()
	node, err := carrier.Start(ctx, carrier.Config{Ephemeral: true, Name: "Alice", Listen: "127.0.0.1:0", NoBootstrap: true})
	if err != nil {
		log.Fatal(err)
	}
	identity, err := node.ExportIdentity()
	if err != nil {
		log.Fatal(err)
	}
	text, err := carrier.SealIdentity(identity, []byte("correct horse battery staple"))
	if err != nil {
		log.Fatal(err)
	}
	if err := node.Close(); err != nil {
		log.Fatal(err)
	}
	first, _, _ := bytes.Cut(text, []byte("\n"))
	fmt.Println(string(first))

	_, err = carrier.OpenIdentity(text, []byte("wrong donkey"))
	fmt.Println("wrong passphrase:", errors.Is(err, carrier.ErrWrongPassphrase))

	identity, err = carrier.OpenIdentity(text, []byte("correct horse battery staple"))
	if err != nil {
		log.Fatal(err)
	}
	again, err := carrier.Start(ctx, carrier.Config{Ephemeral: true, Identity: identity, Listen: "127.0.0.1:0", NoBootstrap: true})
	if err != nil {
		log.Fatal(err)
	}
	defer again.Close()
	fmt.Println("the same ID:", again.ID() == node.ID())
	// Output:
	// -----BEGIN CARRIER IDENTITY-----
	// wrong passphrase: true
	// the same ID: true
}
