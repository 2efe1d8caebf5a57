package main

import (
	"context"
	"errors"

	"github.com/gocarrier/carrier"
)

// do does what one line says. It returns when that is done, or, of a file, begun.
// Errors are shown.
func (c *chat) do(ctx context.Context, line string) {
	cmd, err := parse(line)
	if err == nil {
		err = c.command(ctx, cmd)
	}
	var bad *badCommand
	switch {
	case err == nil:
	case errors.As(err, &bad):
		c.show(failed{bad.name, bad.err})
	case cmd.name == "":
		c.show(failed{"msg", err})
	default:
		c.show(failed{cmd.name, err})
	}
}

func (c *chat) command(ctx context.Context, cmd command) error {
	switch cmd.name {
	case "":
		return c.say(ctx, cmd.text)
	case "me":
		c.show(me{c.node.ID(), c.node.Address()})
	case "add":
		return c.add(ctx, cmd.who, cmd.text)
	case "requests":
		c.show(requests(c.node.Requests()))
	case "accept":
		return c.accept(cmd.who)
	case "refuse":
		return c.refuse(cmd.who)
	case "friends":
		c.listFriends()
	case "msg":
		return c.message(ctx, cmd.who, cmd.text)
	case "send":
		return c.send(ctx, cmd.who, cmd.text)
	case "label":
		return c.label(cmd.who, cmd.text)
	case "remove":
		return c.remove(cmd.who)
	case "help":
		c.show(help{})
	case "quit":
		c.quit(errQuit)
	}
	return nil
}

func (c *chat) add(ctx context.Context, address, hello string) error {
	to, err := carrier.ParseAddress(address)
	if err != nil {
		return err
	}
	f, err := c.node.AddFriend(ctx, to, hello)
	if err != nil {
		return err
	}
	if f.State() == carrier.FriendAccepted {
		c.people.look(f) // they had asked us
	} else {
		c.show(done("asked; the request waits for them for 30 days"))
	}
	return nil
}

func (c *chat) accept(word string) error {
	id, err := c.requester(word)
	if err != nil {
		return err
	}
	f, err := c.node.Accept(id)
	if err != nil {
		return err
	}
	c.people.look(f)
	return nil
}

func (c *chat) refuse(word string) error {
	id, err := c.requester(word)
	if err != nil {
		return err
	}
	if err := c.node.Refuse(id); err != nil {
		return err
	}
	c.people.answered(id)
	c.show(done("refused"))
	return nil
}

func (c *chat) listFriends() {
	var list friendList
	for _, f := range c.node.Friends() {
		list = append(list, row(f))
	}
	c.show(list)
}

func (c *chat) message(ctx context.Context, word, text string) error {
	f, err := c.friend(word)
	if err != nil {
		return err
	}
	c.talk(f)
	return c.receipts.send(ctx, f, text)
}

// talk has plain texts go to a friend.
func (c *chat) talk(f *carrier.Friend) {
	c.current = f.ID()
	c.show(talking{f})
}

// say sends a plain text.
func (c *chat) say(ctx context.Context, text string) error {
	if text == "" {
		return nil
	}
	if friends := c.node.Friends(); c.current.IsZero() && len(friends) == 1 {
		c.talk(friends[0])
	}
	if c.current.IsZero() {
		return errors.New("to whom? /msg WHO TEXT says it once")
	}
	f, err := c.node.Friend(c.current)
	if err != nil {
		c.current = carrier.ID{} // removed
		return err
	}
	return c.receipts.send(ctx, f, text)
}

func (c *chat) send(ctx context.Context, word, path string) error {
	f, err := c.friend(word)
	if err != nil {
		return err
	}
	if err := c.senders.send(ctx, f, path); err != nil {
		return err
	}
	c.talk(f)
	return nil
}

func (c *chat) label(word, name string) error {
	f, err := c.friend(word)
	if err != nil {
		return err
	}
	if err := f.SetLabel(name); err != nil {
		return err
	}
	c.show(done("the friend is called so now"))
	if f.ID() == c.current {
		c.show(talking{f})
	}
	return nil
}

func (c *chat) remove(word string) error {
	f, err := c.friend(word)
	if err != nil {
		return err
	}
	if err := f.Remove(); err != nil {
		return err
	}
	c.people.look(f)
	if f.ID() == c.current {
		c.current = carrier.ID{}
		c.show(talking{})
	}
	return nil
}
