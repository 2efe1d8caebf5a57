// Command chat lets two people on different machines talk and send each other
// files. There is no server and no account: each gives the other an address,
// one asks with /add, the other answers with /accept.
//
//	go run ./examples/chat -dir alice -name Alice
//
// # Flags
//
//	-dir DIR          the state: identity, friends, messages (must be given)
//	-listen ADDR      UDP address, "host:port" or ":port"; empty: all interfaces
//	-bootstrap LIST   comma-separated host:port of DHT nodes; "none": only the
//	                  nodes of earlier runs; empty: the public routers
//	-name NAME        what friends see of you
//	-max-file SIZE    the largest file that is taken: bytes, or with KiB, MiB,
//	                  GiB, KB, MB, GB; 1GiB unless given
//	-stun LIST        comma-separated host:port of STUN servers
//	-turn LIST        comma-separated USER:PASSWORD@HOST:PORT of TURN servers
//	-v                logs on standard error; at a terminal, lead it elsewhere
//
// # Commands
//
//	/me                     your ID, and the address to give to others
//	/add ADDRESS [HELLO]    ask somebody to become a friend
//	/requests               who asks you
//	/accept WHO             become friends
//	/refuse WHO             do not
//	/friends                everybody, whether they are there, and the way to them
//	/msg WHO TEXT           a message, also to who is not there now
//	TEXT                    the same, to who was last written to, or the only friend;
//	                        one that begins with "/" is written with "//"
//	/send WHO FILE          a file, to who is there now
//	/label WHO [NAME]       your own name for a friend
//	/remove WHO             no longer a friend
//	/help                   this list
//	/quit                   end; so does the end of input
//
// WHO is one word: an ID, a label, or the beginning of one of them that fits
// nobody else. TEXT, FILE, HELLO and NAME go to the end of the line. A text has
// at most 64 KiB, at a terminal 4,096 characters.
//
// Files are written to DIR/received, under the name that they were sent by,
// cleaned of what could do harm, and with a number where there is such a file.
// They are shown there when they are whole. The state directory beside it
// is the library's.
//
// # Line protocol
//
// When standard input or output is not a terminal, the same commands are read
// from lines, and what happens is printed as one line each, at once. Every
// quoted text is in the form of Go's strconv.Quote.
//
//	ready                                     the DHT is joined
//	id: I                                     answer to /me, with
//	address: A
//	request: I "HELLO"                        a request; at the start and on /requests
//	                                          each pending one, there with an "end"
//	friend: I added                           accepted, here or by the friend
//	friend: I online
//	friend: I offline
//	friend: I removed                         by the friend or here
//	friend: I refused                         the friend does not want to be one
//	message: I MSGID live "TEXT"              straight from the friend
//	message: I MSGID offline "TEXT"           left in the DHT
//	sent: I MSGID                             taken, and durable here
//	stored: I MSGID                           left in the DHT for the friend
//	delivered: I MSGID                        durable at the friend
//	failed: I MSGID REASON                    expired, refused or cancelled
//	file: I "NAME" SIZE                       a file begins to come
//	received: I "PATH" SIZE SHA256            it is whole
//	filesent: I "NAME" SIZE SHA256            the friend has it whole
//	filefailed: I "NAME" "REASON"             at either end
//	friends: I STATE "LABEL" WAY              on /friends, one each, then "end":
//	                                          online, offline or pending;
//	                                          lan, direct, relay or none
//	help: TEXT                                on /help, some
//	error: "/COMMAND: TEXT"                   a command has failed
//
// Commands work before "ready". "sent" comes once for each /msg that got no
// error, in their order, and before anything else about that message; the same
// MSGID names it at both ends. "friend: I added" comes before the first message
// of I; friends of earlier runs are no news, and listed by /friends. An error ends
// nothing; a line that is too long is passed over.
//
// A message is printed and then consumed, each before the next: a program that
// is killed between the two prints that one again, first thing at its next
// start, and never another. What became of sent messages is kept for a day, and
// printed at each start again, so that no end of the program hides it: who keeps
// account does so by MSGID.
//
// /quit, the end of input, SIGINT, SIGTERM, SIGHUP and a closed output end the
// program in order: friends are told, and the state and receipts that they need
// are put where they find them, for 10 s at most. It exits 0; 1 if it could not
// start or its node has failed, saying on standard error what to do; 2 if
// called wrongly. Files under way are given up, and nothing is left of them.
//
// # Terminal
//
// At a terminal there are line editing and a history, and what comes in leaves
// what is being typed alone. Texts of others are shown without control
// characters. Colours are used unless NO_COLOR is set or TERM is "dumb".
// Characters of double width may misplace the cursor within a long line; what is
// sent is what was typed.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/gocarrier/carrier"
)

func main() { os.Exit(program(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

// program is main with what it uses; it returns the exit status.
func program(args []string, stdin, stdout, stderr *os.File) int {
	options, err := parseOptions(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	}
	signal.Ignore(syscall.SIGPIPE) // a closed output is an error of Write, and ends the chat in order
	ctx, stop := signal.NotifyContext(context.Background(), endSignals()...)
	defer stop()
	if err := start(ctx, stop, options, stdin, stdout, stderr); err != nil {
		fmt.Fprintln(stderr, "chat:", err)
		return 1
	}
	return 0
}

// endSignals are the signals that end the chat; SIGHUP not under nohup.
func endSignals() []os.Signal {
	list := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) {
		list = append(list, syscall.SIGHUP)
	}
	return list
}

// start starts the node and runs the chat on it. release gives the signals their
// usual meaning back: it is called when the chat ends, so that a second one
// ends it at once.
func start(ctx context.Context, release func(), o options, stdin, stdout, stderr *os.File) error {
	config := o.config
	if o.verbose {
		config.Logger = slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	node, err := carrier.Start(ctx, config)
	if err != nil {
		return err
	}
	defer node.Close()
	if p := node.Profile(); config.Name != "" && p.Name != config.Name {
		p.Name = config.Name // the flag counts at later starts too
		if err := node.SetProfile(p); err != nil {
			return err
		}
	}
	shelf, err := openShelf(config.Dir)
	if err != nil {
		return err
	}
	defer shelf.close()
	f, err := newFront(stdin, stdout, node)
	if err != nil {
		return err
	}
	defer f.close() // also on panic
	c := newChat(node, f, shelf, o.maxFile)
	c.release = release
	err = c.run(ctx)
	if o.verbose && c.undone != nil {
		fmt.Fprintln(stderr, "chat: not everything was put in time:", c.undone)
	}
	return err
}

// newFront is the terminal where there is one at both ends, else the lines.
func newFront(stdin, stdout *os.File, node *carrier.Node) (front, error) {
	if isTerminal(stdin) && isTerminal(stdout) {
		return openTerminal(stdin, stdout, node)
	}
	return newScript(stdin, stdout), nil
}

// front is what stands between the chat and those who use it.
type front interface {
	// read waits for the next line, without its end. io.EOF: there is no more;
	// *longLine: one was passed over. One goroutine reads.
	read() (string, error)
	// show says what has happened, all of an event at once. It is safe for
	// concurrent use; an error is the output's end.
	show(e event) error
	// close gives the terminal back. It may be called again.
	close()
}

var (
	_ front = (*script)(nil)
	_ front = (*terminal)(nil)
)
