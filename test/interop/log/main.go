// Verifies a published log with nothing of Sluice's: `log DIR VERIFIER_KEY [REMEMBERED_CHECKPOINT [MINIMUM_INDEX]]`; of one that was pruned sumdb is asked for what is left.
// Or the proofs of single entries that `sluice evidence --proofs` wrote: `log proofs DIR VERIFIER_KEY`, c2sp.org/tlog-proof@v1 by golang.org/x/mod/sumdb.
// A log twice over: golang.org/x/mod/sumdb/{note,tlog}, by every entry, every tile and a consistency proof; and the library of tessera's fsck.
// (The command of fsck exits 0 whatever it finds; its library says.)
package main

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/transparency-dev/merkle/rfc6962"
	"github.com/transparency-dev/tessera/api"
	"github.com/transparency-dev/tessera/client"
	"github.com/transparency-dev/tessera/fsck"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

type head struct {
	origin string
	size   int64
	root   tlog.Hash
}

func open(bytes []byte, verifier note.Verifier) (head, error) {
	opened, err := note.Open(bytes, note.VerifierList(verifier))
	if err != nil {
		return head{}, err
	}
	lines := strings.Split(opened.Text, "\n")
	if len(lines) != 4 || lines[0] != verifier.Name() {
		return head{}, errors.New("not a checkpoint of this log")
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil {
		return head{}, err
	}
	root, err := base64.StdEncoding.DecodeString(lines[2])
	if err != nil || len(root) != tlog.HashSize {
		return head{}, errors.New("no root")
	}
	return head{lines[0], size, tlog.Hash(root)}, nil
}

// tiles reads c2sp.org/tlog-tiles where sumdb expects its own layout, whose paths carry the height of a tile.
type tiles struct{ dir string }

func (t tiles) Height() int                         { return 8 }
func (t tiles) SaveTiles(_ []tlog.Tile, _ [][]byte) {}
func (t tiles) ReadTiles(wanted []tlog.Tile) ([][]byte, error) {
	var found [][]byte
	for _, tile := range wanted {
		bytes, err := os.ReadFile(filepath.Join(t.dir, strings.Replace(tile.Path(), "tile/8/", "tile/", 1)))
		if err != nil {
			return nil, err
		}
		found = append(found, bytes)
	}
	return found, nil
}

// entries gives the leaf hash of each entry from minimum on, out of the bundles.
func entries(dir string, minimum, size int64) ([]tlog.Hash, error) {
	var hashes []tlog.Hash
	for bundle := minimum / 256; bundle*256 < size; bundle++ {
		tile := tlog.Tile{H: 8, L: 0, N: bundle, W: int(min(256, size-bundle*256))}
		path := strings.Replace(tile.Path(), "tile/8/0/", "tile/entries/", 1)
		bytes, err := os.ReadFile(filepath.Join(dir, path))
		if err != nil {
			return nil, err
		}
		before := len(hashes)
		for len(bytes) > 0 {
			if len(bytes) < 2 || len(bytes) < 2+int(binary.BigEndian.Uint16(bytes)) {
				return nil, fmt.Errorf("%s ends inside an entry", path)
			}
			end := 2 + int(binary.BigEndian.Uint16(bytes))
			hashes = append(hashes, tlog.RecordHash(bytes[2:end]))
			bytes = bytes[end:]
		}
		if len(hashes)-before != tile.W {
			return nil, fmt.Errorf("%s has %d entries", path, len(hashes)-before)
		}
	}
	return hashes, nil
}

// bySumdb checks each entry against the tree that the checkpoint signs, and the tree against the one that is remembered.
func bySumdb(dir string, verifier note.Verifier, remembered string, minimum int64) error {
	bytes, err := os.ReadFile(filepath.Join(dir, "checkpoint"))
	if err != nil {
		return err
	}
	now, err := open(bytes, verifier)
	if err != nil {
		return err
	}
	tree := tlog.Tree{N: now.size, Hash: now.root}
	// It proves each tile that it reads up to the root.
	reader := tlog.TileHashReader(tree, tiles{dir})
	hashes, err := entries(dir, minimum, now.size)
	if err != nil {
		return err
	}
	for from := minimum; from < now.size; from += 256 {
		to := min(from+256, now.size)
		var indexes []int64
		for i := from; i < to; i++ {
			indexes = append(indexes, tlog.StoredHashIndex(0, i))
		}
		proven, err := reader.ReadHashes(indexes)
		if err != nil {
			return err
		}
		for i, hash := range proven {
			if hash != hashes[from-minimum+int64(i)] {
				return fmt.Errorf("entry %d is not the one of the tree", from+int64(i))
			}
		}
	}
	if remembered == "" {
		return nil
	}
	bytes, err = os.ReadFile(remembered)
	if err != nil {
		return err
	}
	old, err := open(bytes, verifier)
	if err != nil {
		return err
	}
	if old.size > now.size {
		return fmt.Errorf("rolled back from %d to %d", old.size, now.size)
	}
	if old.size == 0 {
		return nil
	}
	proof, err := tlog.ProveTree(now.size, old.size, reader)
	if err != nil {
		return err
	}
	return tlog.CheckTree(proof, now.size, now.root, old.size, old.root)
}

func leafHashes(bundle []byte) ([][]byte, error) {
	parsed := &api.EntryBundle{}
	if err := parsed.UnmarshalText(bundle); err != nil {
		return nil, err
	}
	var hashes [][]byte
	for _, entry := range parsed.Entries {
		hashes = append(hashes, rfc6962.DefaultHasher.HashLeaf(entry))
	}
	return hashes, nil
}

// A log of this size is accepted within seconds.
const patience = 30 * time.Second

// byFsck: of a large log that is not as it should be the library may never answer, since those who read end while it waits for them. That is no acceptance.
func byFsck(dir string, verifier note.Verifier) error {
	answer := make(chan error, 1)
	go func() {
		answer <- fsck.New(verifier.Name(), verifier, &client.FileFetcher{Root: dir}, leafHashes, fsck.Opts{N: 2}).Check(context.Background())
	}()
	select {
	case err := <-answer:
		return err
	case <-time.After(patience):
		return fmt.Errorf("no answer within %v", patience)
	}
}

func tell(name string, err error) {
	if err == nil {
		fmt.Printf("%s: accepted\n", name)
	} else {
		fmt.Printf("%s: rejected: %v\n", name, err)
	}
}

// byProofs checks each INDEX.leaf in dir with its INDEX.tlog-proof. It gives how many there are.
func byProofs(dir string, verifier note.Verifier) (int, error) {
	leaves, err := filepath.Glob(filepath.Join(dir, "*.leaf"))
	if err != nil {
		return 0, err
	}
	for _, leaf := range leaves {
		name := strings.TrimSuffix(leaf, ".leaf")
		entry, err := os.ReadFile(leaf)
		if err != nil {
			return 0, err
		}
		proof, err := os.ReadFile(name + ".tlog-proof")
		if err != nil {
			return 0, err
		}
		if err := checkProof(filepath.Base(name), entry, proof, verifier); err != nil {
			return 0, fmt.Errorf("%s: %w", name, err)
		}
	}
	return len(leaves), nil
}

// checkProof reads a proof as the specification lays it out: header, index, hashes, an empty line, the checkpoint.
func checkProof(name string, entry, bytes []byte, verifier note.Verifier) error {
	head, checkpoint, found := strings.Cut(string(bytes), "\n\n")
	if !found {
		return errors.New("no empty line before the checkpoint")
	}
	lines := strings.Split(head, "\n")
	if len(lines) < 2 || lines[0] != "c2sp.org/tlog-proof@v1" || lines[1] != "index "+name {
		return errors.New("not a proof of this index")
	}
	index, err := strconv.ParseInt(name, 10, 64)
	if err != nil {
		return err
	}
	var path tlog.RecordProof
	for _, line := range lines[2:] {
		hash, err := base64.StdEncoding.DecodeString(line)
		if err != nil || len(hash) != tlog.HashSize {
			return errors.New("no hash")
		}
		path = append(path, tlog.Hash(hash))
	}
	signed, err := open([]byte(checkpoint), verifier)
	if err != nil {
		return err
	}
	return tlog.CheckRecord(path, signed.size, signed.root, index, tlog.RecordHash(entry))
}

func proofs(dir, key string) {
	verifier, err := note.NewVerifier(key)
	count := 0
	if err == nil {
		count, err = byProofs(dir, verifier)
	}
	tell(fmt.Sprintf("%d proofs", count), err)
}

func main() {
	if len(os.Args) == 4 && os.Args[1] == "proofs" {
		proofs(os.Args[2], os.Args[3])
		return
	}
	dir, remembered := os.Args[1], ""
	if len(os.Args) > 3 {
		remembered = os.Args[3]
	}
	minimum := int64(0)
	verifier, err := note.NewVerifier(os.Args[2])
	if err == nil && len(os.Args) > 4 {
		minimum, err = strconv.ParseInt(os.Args[4], 10, 64)
	}
	if err == nil {
		tell("sumdb", bySumdb(dir, verifier, remembered, minimum))
		tell("fsck", byFsck(dir, verifier))
		return
	}
	fmt.Println(err)
	os.Exit(1)
}
