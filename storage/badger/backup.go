package badger

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"

	badger "github.com/dgraph-io/badger/v4"
)

// backupMagic begins a backup; its last byte is a version.
const backupMagic = "PENSTOCK-BACKUP\x01"

// backupRecordMax is the longest key or value that a backup may have, so that a bad one does not fill the memory.
const backupRecordMax = valueLogFileSize

// Backup writes everything that was acknowledged when it was called, queues included, while the store goes on.
// FORMAT.md draws what it writes.
func (s *Store) Backup(w io.Writer) error {
	b := &backupWriter{w: bufio.NewWriterSize(w, 1<<20), sum: crc32.New(castagnoli)}
	b.write([]byte(backupMagic))
	err := s.view(func(txn *badger.Txn) error {
		it := txn.NewIterator(badger.IteratorOptions{})
		defer it.Close()
		for it.Rewind(); it.Valid() && b.err == nil; it.Next() {
			item := it.Item()
			if err := item.Value(func(value []byte) error { b.record(item.Key(), value); return nil }); err != nil {
				return fmt.Errorf("record %x: %w", item.Key(), err)
			}
		}
		return nil
	})
	b.end()
	if err := errors.Join(err, b.err); err != nil {
		return fmt.Errorf("storage: backup: %w", err)
	}
	return nil
}

// A backupWriter writes records and remembers the first error.
type backupWriter struct {
	w     *bufio.Writer
	sum   hash.Hash32 // of everything written
	count uint64
	err   error
}

func (b *backupWriter) write(data []byte) {
	if b.err == nil {
		b.sum.Write(data)
		_, b.err = b.w.Write(data)
	}
}

func (b *backupWriter) record(key, value []byte) {
	b.write(binary.AppendUvarint(nil, uint64(len(key))))
	b.write(key)
	b.write(binary.AppendUvarint(nil, uint64(len(value))))
	b.write(value)
	b.count++
}

// end writes an empty key, how many records there are, and the checksum of all that.
func (b *backupWriter) end() {
	b.write(binary.AppendUvarint([]byte{0}, b.count))
	b.write(binary.LittleEndian.AppendUint32(nil, b.sum.Sum32()))
	if b.err == nil {
		b.err = b.w.Flush()
	}
}

// Restore makes a store of a backup in a folder that is empty or does not exist. If it fails the folder is as it was.
func Restore(r io.Reader, path string) error {
	if err := restore(r, path); err != nil {
		return fmt.Errorf("storage: restore to %s: %w", path, err)
	}
	return nil
}

func restore(r io.Reader, path string) error {
	if entries, err := os.ReadDir(path); err == nil && len(entries) > 0 {
		return ErrNotEmpty
	}
	work := filepath.Clean(path) + ".restoring"
	if err := os.RemoveAll(work); err != nil {
		return err
	}
	defer os.RemoveAll(work)
	if err := restoreTo(r, work); err != nil {
		return err
	}
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) { // it is empty
		return err
	}
	if err := os.Rename(work, path); err != nil {
		return err
	}
	parent, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer parent.Close()
	return syncFolder(parent)
}

func restoreTo(r io.Reader, path string) error {
	s, err := Open(Options{Path: path, Sync: SyncNever}) // until the end, when closing syncs it
	if err != nil {
		return err
	}
	defer s.Close()
	b := &backupReader{r: bufio.NewReaderSize(r, 1<<20), sum: crc32.New(castagnoli)}
	if err := b.read(func(key, value []byte) error { return s.commitOnce([]record{{key, value}}) }); err != nil {
		return err
	}
	if err := errors.Join(s.db.Sync(), syncFolder(s.folder)); err != nil {
		return err
	}
	return s.Close()
}

// A backupReader reads what a backupWriter wrote.
type backupReader struct {
	r     *bufio.Reader
	sum   hash.Hash32
	count uint64
}

// ReadByte implements io.ByteReader.
func (b *backupReader) ReadByte() (byte, error) {
	c, err := b.r.ReadByte()
	if err == nil {
		b.sum.Write([]byte{c})
	}
	return c, err
}

func (b *backupReader) bytes(n uint64) ([]byte, error) {
	if n > backupRecordMax {
		return nil, errMalformed
	}
	data := make([]byte, n)
	_, err := io.ReadFull(b.r, data)
	b.sum.Write(data)
	return data, err
}

func (b *backupReader) lengthAndBytes() ([]byte, error) {
	n, err := binary.ReadUvarint(b)
	if err != nil {
		return nil, err
	}
	return b.bytes(n)
}

func (b *backupReader) read(take func(key, value []byte) error) error {
	magic, err := b.bytes(uint64(len(backupMagic)))
	if err != nil || string(magic[:len(magic)-1]) != backupMagic[:len(backupMagic)-1] {
		return fmt.Errorf("not a backup: %w", errors.Join(errMalformed, err))
	}
	if magic[len(magic)-1] > backupMagic[len(backupMagic)-1] {
		return ErrNewer
	}
	for {
		key, err := b.lengthAndBytes()
		if err != nil {
			return err
		}
		if len(key) == 0 {
			return b.end()
		}
		value, err := b.lengthAndBytes()
		if err != nil {
			return err
		}
		if err := take(key, value); err != nil {
			return err
		}
		b.count++
	}
}

func (b *backupReader) end() error {
	count, err := binary.ReadUvarint(b)
	if err != nil {
		return err
	}
	want := b.sum.Sum32()
	sum, err := b.bytes(4)
	if err != nil {
		return err
	}
	if count != b.count || binary.LittleEndian.Uint32(sum) != want {
		return fmt.Errorf("backup: %w", errChecksum)
	}
	return nil
}

// existing refuses a path that has no store.
func existing(path string) error {
	_, err := os.Stat(filepath.Join(path, formatFile))
	if errors.Is(err, os.ErrNotExist) {
		return ErrAbsent
	}
	return err
}
