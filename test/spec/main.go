// Command spec writes docs/spec.md, the page that says for every statement of
// MQTT 5 and 3.1.1 that binds a server where the code obeys it and which test shows it.
//
//	go run ./test/spec
//
// Its nouns are the Statement (a row of docs/spec/mqtt5.tsv or mqtt311.tsv), the
// Citation ([MQTT5-3.3.1-5] in the source) and the Reason (a row of docs/spec/reasons.tsv: why a
// cell stays empty). It knows nothing of what the code does: a citation is
// an author's word, and the tests cited are what proves it. Its own test fails
// when the page is stale, when a citation names no statement, and when a cell is open.
package main

import (
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "spec:", err)
		os.Exit(1)
	}
}

func run() error {
	root, err := moduleRoot()
	if err != nil {
		return err
	}
	b, err := loadBook(root)
	if err != nil {
		return err
	}
	for _, p := range b.problems {
		fmt.Fprintln(os.Stderr, "spec:", p)
	}
	for _, cell := range b.open() {
		fmt.Fprintln(os.Stderr, "spec: open:", cell)
	}
	for _, c := range b.counts() {
		fmt.Println(c)
	}
	return os.WriteFile(filepath.Join(root, pagePath), b.page(), 0o644)
}

// moduleRoot finds the folder of go.mod from the working directory upwards.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", fmt.Errorf("no go.mod above the working directory")
		}
		dir = parent
	}
}
