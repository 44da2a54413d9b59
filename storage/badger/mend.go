package badger

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/dgraph-io/badger/v4/table"
)

// A mending looks at Badger's tables and at the manifest that lists them before Badger does, which refuses the folder, or ends the
// process, when a table is damaged or missing, and deletes tables that a damaged manifest does not list. It leaves a folder that Badger
// opens: what is whole of a damaged table is written to a new one in its place, and a manifest that does not list a table that is
// needed is written anew.
type mending struct {
	*Store
	manifest *manifest
	old      []byte // the manifest as it was found
	changed  bool
	absent   map[uint64]uint64 // level by id of the tables that it lists and that are not there
	behind   bool              // what the manifest had at its end is lost: it may have been that these were deleted
	verified int64             // bytes of tables
}

// mend does all that. It does nothing if there is no table and no manifest.
func (s *Store) mend() error {
	ids, err := s.tableIDs()
	if err != nil {
		return err
	}
	old, err := os.ReadFile(s.manifestPath())
	if errors.Is(err, os.ErrNotExist) && len(ids) == 0 {
		return nil
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	m := &mending{Store: s, manifest: parseManifest(old), old: old, absent: make(map[uint64]uint64)}
	m.changed = m.manifest.whole == 0
	m.behind = m.manifest.whole < len(old)                                            // a write that a power cut interrupted, or damage
	for _, id := range slices.Backward(slices.Sorted(maps.Keys(m.manifest.levels))) { // the newest first: not all may be verified
		if !slices.Contains(ids, id) {
			m.absent[id] = m.manifest.levels[id]
			delete(m.manifest.levels, id)
			continue
		}
		if err := m.known(id); err != nil {
			return err
		}
	}
	for _, id := range ids {
		if _, listed := m.manifest.levels[id]; !listed && id > m.manifest.newest {
			if err := m.unknown(id); err != nil {
				return err
			}
		}
	}
	if err := m.seeToAbsent(); err != nil {
		return err
	}
	return m.rewrite()
}

func (s *Store) manifestPath() string { return filepath.Join(s.options.Path, manifestFile) }

// tableIDs lists the tables in the folder.
func (s *Store) tableIDs() (ids []uint64, err error) {
	entries, err := os.ReadDir(s.options.Path)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if id, ok := table.ParseFileID(e.Name()); ok && strings.HasSuffix(e.Name(), tableSuffix) {
			ids = append(ids, id)
		}
	}
	return ids, nil
}

// seeToAbsent sees to the tables that are not there. Those that the manifest's end has deleted are no loss.
func (m *mending) seeToAbsent() error {
	for _, id := range slices.Sorted(maps.Keys(m.absent)) {
		name := table.IDToFilename(id)
		if m.behind {
			m.options.Log.Warn("storage: a table that a damaged manifest lists is not there", "reason", name)
			m.changed = true
			continue
		}
		m.loseFile(name, nil, "it is missing, with the records in it")
		if err := m.replaceTable(id, nil); err != nil {
			return err
		}
		m.manifest.levels[id] = m.absent[id]
	}
	return nil
}

// known sees to a table that the manifest lists and that is there.
func (m *mending) known(id uint64) error {
	return m.withTable(id, func(data []byte) error {
		if _, indexed := tableIndex(data); indexed && m.verified > verifyBytes {
			return nil // Check, and whoever reads it, find what is wrong in its blocks
		}
		m.verified += int64(len(data))
		blocks, whole := tableBlocks(data)
		if whole {
			return nil
		}
		return m.mendTable(id, data, blocks)
	})
}

func (m *mending) tablePath(id uint64) string { return table.NewFilename(id, m.options.Path) }

// withTable calls use with the contents of a table, which are valid in it only.
func (m *mending) withTable(id uint64, use func(data []byte) error) error {
	empty := true
	err := withFile(m.tablePath(id), func(data []byte) error {
		empty = false
		return use(data)
	})
	if err == nil && empty {
		return use(nil)
	}
	return err
}

// mendTable keeps a damaged table aside and writes one with the entries of its whole blocks in its place.
func (m *mending) mendTable(id uint64, data []byte, blocks [][]byte) error {
	m.loseFile(table.IDToFilename(id), data, fmt.Sprintf("it is damaged: %d blocks of records are whole, what is in the others is lost", len(blocks)))
	return m.replaceTable(id, blocks)
}

// replaceTable writes a table with the entries of some blocks in the place of one.
func (m *mending) replaceTable(id uint64, blocks [][]byte) error {
	return writeFile(m.tablePath(id), buildTable(id, blocks))
}

// unknown sees to a table that the manifest does not list, and never did. A process that ended while it wrote the table leaves it so, and
// Badger deletes it: then everything in it is elsewhere too. If it is not, the manifest has lost it.
func (m *mending) unknown(id uint64) error {
	return m.withTable(id, func(data []byte) error {
		blocks, whole := tableBlocks(data)
		if !whole && m.manifest.whole > 0 && !m.behind {
			return nil // it was being written
		}
		needed, err := m.needed(blocks)
		if err != nil || !needed {
			return err
		}
		if !whole {
			if err := m.mendTable(id, data, blocks); err != nil {
				return err
			}
		}
		m.options.Log.Warn("storage: the manifest does not list a table that is needed; it does now", "reason", table.IDToFilename(id))
		m.manifest.levels[id] = 0 // where tables may overlap, and the version of a record says which is the newest
		m.changed, m.behind = true, true
		return nil
	})
}

// needed reports whether some of the entries of blocks are in no log and in no table that the manifest lists.
func (m *mending) needed(blocks [][]byte) (bool, error) {
	missing := make(map[string]bool)
	eachKey(blocks, func(key []byte) { missing[string(key)] = true })
	logs, err := logNames(m.options.Path)
	if err != nil {
		return false, err
	}
	for _, name := range logs {
		if !strings.HasSuffix(name, memSuffix) {
			continue
		}
		if err := withFile(filepath.Join(m.options.Path, name), func(data []byte) error {
			eachLogKey(data, func(key []byte) { delete(missing, string(key)) })
			return nil
		}); err != nil {
			return false, err
		}
	}
	for id := range m.manifest.levels {
		if len(missing) == 0 {
			return false, nil
		}
		if err := m.withTable(id, func(data []byte) error {
			blocks, _ := tableBlocks(data)
			eachKey(blocks, func(key []byte) { delete(missing, string(key)) })
			return nil
		}); err != nil {
			return false, err
		}
	}
	return len(missing) > 0, nil
}

func eachKey(blocks [][]byte, f func(key []byte)) {
	for _, b := range blocks {
		for e := range blockEntries(b) {
			f(e.key)
		}
	}
}

// rewrite writes the manifest anew, if it has to be. What it was is kept.
func (m *mending) rewrite() error {
	if !m.changed {
		return nil
	}
	if len(m.old) > 0 {
		if err := m.writeAside(manifestFile, m.old); err != nil {
			return err
		}
	}
	m.options.Log.Warn("storage: the manifest was damaged and is written anew", "reason", fmt.Sprintf("%d tables", len(m.manifest.levels)))
	return errors.Join(writeFile(m.manifestPath(), m.manifest.encode()), syncFolder(m.folder))
}
