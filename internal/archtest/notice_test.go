package archtest

import (
	"path/filepath"
	"testing"
)

func TestCheckNotice(t *testing.T) {
	const (
		mit = "Permission is hereby granted, free of\ncharge, to any person\n"
		gpl = "GNU GENERAL PUBLIC LICENSE\n   Version 3, 29 June 2007\n"
		mpl = "Mozilla Public License, version 2.0\n... the GNU Affero General Public License, Version 3.0 ...\n"
	)
	sources := write(t, map[string]string{
		"good/LICENSE":    mit,
		"moved/LICENCE":   mpl,
		"viral/COPYING":   gpl,
		"bare/bare.go":    "package bare\n",
		"strange/LICENSE": "Ask me first.\n",
		"sync/sync.go":    "package sync\n",
	})
	linked := []Module{{"example.org/unnamed", filepath.Join(sources, "good")}}
	for _, name := range []string{"good", "moved", "viral", "bare", "strange"} {
		linked = append(linked, Module{"example.org/" + name, filepath.Join(sources, name)})
	}

	tree, err := Open(write(t, map[string]string{
		"crypto/crypto.go": "package crypto\n",
		"go.mod": `module example.org/carrier

require (
	example.org/bare v1.0.0
	example.org/good v1.0.0
	example.org/moved v1.0.0
	example.org/strange v1.0.0
	example.org/unnamed v1.0.0
	example.org/viral v1.0.0
)
`,
		"NOTICE": `Carrier links example.org/unnamed  and more:

example.org/bare     none-stated
example.org/gone     MIT  Copyright somebody
example.org/good     MIT  Copyright somebody
example.org/moved    MIT  Copyright somebody
example.org/strange  unknown
example.org/viral    GPL  Copyright somebody
`,
	}))
	if err != nil {
		t.Fatal(err)
	}
	compare(t, CheckNotice(tree, linked), `NOTICE: example.org/unnamed is linked and not named
NOTICE:3: example.org/bare: licence none-stated is not permitted
NOTICE:4: example.org/gone is not required by go.mod
NOTICE:6: example.org/moved is under MPL-2.0, not MIT
NOTICE:7: example.org/strange: licence unknown is not permitted
NOTICE:8: example.org/viral is under GPL family, not GPL
`)
}

func TestRecognize(t *testing.T) {
	const bsd = "Redistribution and use in source and binary forms, with or without\nmodification, are permitted"
	for text, want := range map[string]string{
		"Apache License\n Version 2.0, January 2004": "Apache-2.0",
		bsd:                             "BSD-2-Clause",
		bsd + "\nNeither the name of X": "BSD-3-Clause",
		"Permission to use, copy, modify, and/or distribute this\nsoftware for any purpose": "ISC",
		"GNU LESSER GENERAL PUBLIC LICENSE\nVersion 3, 29 June 2007":                        "GPL family",
		"GNU AFFERO GENERAL PUBLIC LICENSE\nVersion 3":                                      "GPL family",
		"All rights reserved.": "unknown",
	} {
		if got := recognize([]byte(text)); got != want {
			t.Errorf("recognize(%q) = %s, want %s", text, got, want)
		}
	}
}

func TestLinkedNeedsAGoTree(t *testing.T) {
	tree := &Tree{Root: filepath.Join(t.TempDir(), "absent")}
	if _, err := Linked(tree); err == nil {
		t.Error("Linked of an absent tree gives no error")
	}
}
