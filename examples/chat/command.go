package main

import (
	"errors"
	"fmt"
	"strings"
)

// part says whether a command has one of its parts.
type part uint8

const (
	without part = iota
	optional
	required
)

// verb is one command: a word that may be followed by a second one and by a text
// to the end of the line.
type verb struct {
	name, usage, about string
	who, text          part
}

// verbs are all commands, in the order of /help.
func verbs() []verb {
	return []verb{
		{"me", "", "your ID, and the address to give to others", without, without},
		{"add", "ADDRESS [HELLO]", "ask somebody to become a friend", required, optional},
		{"requests", "", "who asks you", without, without},
		{"accept", "WHO", "become friends", required, without},
		{"refuse", "WHO", "do not", required, without},
		{"friends", "", "everybody, whether they are there, and the way to them", without, without},
		{"msg", "WHO TEXT", "a message, also to who is not there now", required, required},
		{"send", "WHO FILE", "a file, to who is there now", required, required},
		{"label", "WHO [NAME]", "your own name for a friend", required, optional},
		{"remove", "WHO", "no longer a friend", required, without},
		{"help", "", "this list", without, without},
		{"quit", "", "end; so does the end of input", without, without},
	}
}

// command is one line as it was understood.
type command struct {
	name      string // of its verb; "" is a text without a command
	who, text string
}

// badCommand says why a line is no command. Its name has no "/".
type badCommand struct {
	name string
	err  error
}

func (b *badCommand) Error() string { return "/" + b.name + ": " + b.err.Error() }

func (b *badCommand) Unwrap() error { return b.err }

// parse understands one line. Its error is a *badCommand.
func parse(line string) (command, error) {
	if !strings.HasPrefix(line, "/") {
		return command{text: line}, nil
	}
	if strings.HasPrefix(line, "//") {
		return command{text: line[1:]}, nil
	}
	name, rest, _ := strings.Cut(line[1:], " ")
	for _, v := range verbs() {
		if v.name == name {
			c, err := v.parse(rest)
			if err != nil {
				return command{}, &badCommand{name, err}
			}
			return c, nil
		}
	}
	return command{}, &badCommand{cut(name, 64), errors.New("no such command; /help lists them, and // begins a text with a /")}
}

// parse reads what follows the command's name. One space ends WHO: more of them
// belong to the text.
func (v verb) parse(rest string) (command, error) {
	c := command{name: v.name}
	if v.who == required {
		c.who, c.text, _ = strings.Cut(strings.TrimLeft(rest, " "), " ")
	} else {
		c.text = rest
	}
	blank := strings.TrimSpace(c.text) == ""
	if v.text != required && blank {
		c.text = ""
	}
	if v.who == required && c.who == "" || v.text == required && c.text == "" || v.text == without && !blank {
		return command{}, fmt.Errorf("it is %s", strings.TrimSpace("/"+v.name+" "+v.usage))
	}
	return c, nil
}

// commandOf guesses the command's name at the beginning of a line, for one that
// is too long.
func commandOf(line string) string {
	if name, _, ok := strings.Cut(line, " "); ok && strings.HasPrefix(name, "/") {
		for _, v := range verbs() {
			if v.name == name[1:] {
				return v.name
			}
		}
	}
	return "msg"
}
