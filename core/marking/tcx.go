package marking

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/enichain/enichain/core/layout"
)

// programPrefix begins the name of each of our programs (`bpftool net`); the numbers follow.
const programPrefix = "enichain_"

// name returns the name of the program that sets the numbers, which by its name is known to do so.
func (n numbers) name() string { return fmt.Sprintf("%s%d_%d", programPrefix, n.ipv4, n.ipv6) }

// program is a loaded BPF program.
type program struct {
	id   uint32
	name string
}

// attach has the link's incoming packets go through the program of the numbers, which takes the place of another of ours. hint
// is the ID under which it may be loaded; loading it takes several times as long. The program goes with the last link.
func attach(ifindex int, n numbers, hint uint32) (id uint32, err error) {
	old, err := attached(ifindex)
	if err != nil || old.name == n.name() {
		return old.id, err
	}
	file, p, err := open(n, hint)
	if err != nil {
		return 0, err
	}
	defer file.Close()
	a := attachAttr{ifindex: uint32(ifindex), program: uint32(file.Fd()), kind: unix.BPF_TCX_INGRESS}
	if old.name != "" {
		before, err := byID(old.id)
		if err != nil {
			return 0, err
		}
		defer before.Close()
		a.flags, a.replaces = unix.BPF_F_REPLACE, uint32(before.Fd())
	}
	if _, err := bpf(unix.BPF_PROG_ATTACH, unsafe.Pointer(&a), unsafe.Sizeof(a)); err != nil {
		return 0, fmt.Errorf("attach the BPF program %s: %w", n.name(), lacking(err))
	}
	return p.id, nil
}

// open opens the program of the numbers: that of the hint where it is one, or else a new one.
func open(n numbers, hint uint32) (*os.File, program, error) {
	if file, err := byID(hint); err == nil {
		if p, err := infoOf(file); err == nil && p.name == n.name() {
			return file, p, nil
		}
		_ = file.Close()
	}
	file, err := load(n)
	if err != nil {
		return nil, program{}, err
	}
	p, err := infoOf(file)
	if err != nil {
		_ = file.Close()
	}
	return file, p, err
}

// detach takes our program from a link. Where there is none, or no tcx, nothing is to be done.
func detach(ifindex int) error {
	p, err := attached(ifindex)
	if errors.Is(err, ErrNoTCX) || err == nil && p.name == "" {
		return nil
	}
	if err != nil {
		return err
	}
	file, err := byID(p.id)
	if errors.Is(err, unix.ENOENT) { // it went meanwhile
		return nil
	}
	if err != nil {
		return err
	}
	defer file.Close()
	a := attachAttr{ifindex: uint32(ifindex), program: uint32(file.Fd()), kind: unix.BPF_TCX_INGRESS}
	if _, err := bpf(unix.BPF_PROG_DETACH, unsafe.Pointer(&a), unsafe.Sizeof(a)); err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("detach the BPF program %s: %w", p.name, err)
	}
	return nil
}

// maxPrograms is how many programs a link can have (BPF_MPROG_MAX, include/linux/bpf_mprog.h).
const maxPrograms = 64

// attached returns our program on a link; the zero program where there is none. The error is ErrNoTCX where the kernel does
// not know the question.
func attached(ifindex int) (program, error) {
	ids := make([]uint32, maxPrograms)
	var pins runtime.Pinner
	defer pins.Unpin()
	q := queryAttr{ifindex: uint32(ifindex), kind: unix.BPF_TCX_INGRESS, ids: pin(&pins, &ids[0]), count: maxPrograms}
	_, err := bpf(unix.BPF_PROG_QUERY, unsafe.Pointer(&q), unsafe.Sizeof(q))
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENODEV) { // there was never one, or the link has gone
		return program{}, nil
	}
	if err != nil {
		return program{}, fmt.Errorf("ask for the BPF programs of link %d: %w", ifindex, lacking(err))
	}
	for _, id := range ids[:q.count] {
		file, err := byID(id)
		if errors.Is(err, unix.ENOENT) {
			continue
		}
		if err != nil {
			return program{}, err
		}
		p, err := infoOf(file)
		_ = file.Close()
		if err != nil || strings.HasPrefix(p.name, programPrefix) {
			return p, err
		}
	}
	return program{}, nil
}

// lacking makes ErrNoTCX of the errors of kernels that do not know tcx, or not for us.
func lacking(err error) error {
	for _, errno := range []error{unix.EINVAL, unix.ENOSYS, unix.EPERM, unix.EACCES, unix.EOPNOTSUPP} {
		if errors.Is(err, errno) {
			return fmt.Errorf("%w: %w", ErrNoTCX, err)
		}
	}
	return err
}

// load loads the program that puts the numbers into the mark's bits of layout.MaskENI, and leaves the others.
func load(n numbers) (*os.File, error) {
	code, license := n.code(), []byte("Apache-2.0\x00")
	var pins runtime.Pinner
	defer pins.Unpin()
	a := loadAttr{kind: unix.BPF_PROG_TYPE_SCHED_CLS, count: uint32(len(code)), code: pin(&pins, &code[0]), license: pin(&pins, &license[0])}
	copy(a.name[:len(a.name)-1], n.name())
	fd, err := bpf(unix.BPF_PROG_LOAD, unsafe.Pointer(&a), unsafe.Sizeof(a))
	if err != nil {
		return nil, fmt.Errorf("load the BPF program %s: %w", n.name(), lacking(err))
	}
	return os.NewFile(fd, n.name()), nil
}

// byID opens a loaded program.
func byID(id uint32) (*os.File, error) {
	if id == 0 {
		return nil, unix.ENOENT
	}
	a := idAttr{id: id}
	fd, err := bpf(unix.BPF_PROG_GET_FD_BY_ID, unsafe.Pointer(&a), unsafe.Sizeof(a))
	if err != nil {
		return nil, fmt.Errorf("open the BPF program %d: %w", id, lacking(err))
	}
	return os.NewFile(fd, "program"), nil
}

func infoOf(file *os.File) (program, error) {
	info := new(programInfo)
	var pins runtime.Pinner
	defer pins.Unpin()
	a := infoAttr{fd: uint32(file.Fd()), length: uint32(unsafe.Sizeof(*info)), info: pin(&pins, info)}
	_, err := bpf(unix.BPF_OBJ_GET_INFO_BY_FD, unsafe.Pointer(&a), unsafe.Sizeof(a))
	if err != nil {
		return program{}, fmt.Errorf("look at a BPF program: %w", lacking(err))
	}
	name, _, _ := bytes.Cut(info.name[:], []byte{0})
	return program{info.id, string(name)}, nil
}

// instruction is struct bpf_insn (include/uapi/linux/bpf.h).
type instruction struct {
	op        uint8
	registers uint8
	offset    int16
	immediate int32
}

// The fields of struct __sk_buff that the program uses (include/uapi/linux/bpf.h).
const (
	skbMark     = 8
	skbProtocol = 16
)

// code returns the program: mark = mark & ^MaskENI | number, of the packet's family, and on to the next program (TCX_NEXT).
func (n numbers) code() []instruction {
	const context, mark, protocol = 1, 0, 2 // registers; the first is given
	etherIPv6 := int32(binary.NativeEndian.Uint16([]byte{0x86, 0xdd}))
	return []instruction{
		{op: unix.BPF_LDX | unix.BPF_MEM | unix.BPF_W, registers: registers(mark, context), offset: skbMark},
		{op: unix.BPF_ALU | unix.BPF_AND | unix.BPF_K, registers: registers(mark, 0), immediate: ^int32(layout.MaskENI)},
		{op: unix.BPF_LDX | unix.BPF_MEM | unix.BPF_W, registers: registers(protocol, context), offset: skbProtocol},
		{op: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, registers: registers(protocol, 0), offset: 2, immediate: etherIPv6},
		{op: unix.BPF_ALU | unix.BPF_OR | unix.BPF_K, registers: registers(mark, 0), immediate: int32(n.ipv4)},
		{op: unix.BPF_JMP | unix.BPF_JA, offset: 1},
		{op: unix.BPF_ALU | unix.BPF_OR | unix.BPF_K, registers: registers(mark, 0), immediate: int32(n.ipv6)},
		{op: unix.BPF_STX | unix.BPF_MEM | unix.BPF_W, registers: registers(context, mark), offset: skbMark},
		{op: unix.BPF_ALU64 | unix.BPF_MOV | unix.BPF_K, immediate: -1},
		{op: unix.BPF_JMP | unix.BPF_EXIT},
	}
}

// registers packs two bit fields as C does.
func registers(dst, src uint8) uint8 {
	if binary.NativeEndian.Uint16([]byte{0, 1}) == 1 { // big-endian
		return dst<<4 | src
	}
	return src<<4 | dst
}

// The parts of union bpf_attr, and the beginning of struct bpf_prog_info (include/uapi/linux/bpf.h). The kernel takes what is
// missing at the end for 0.
type (
	loadAttr struct {
		kind, count         uint32
		code, license       uint64
		logLevel, logSize   uint32
		log                 uint64
		kernelVersion, mode uint32
		name                [16]byte
	}
	attachAttr struct {
		ifindex, program, kind, flags, replaces, relative uint32
		revision                                          uint64
	}
	queryAttr struct {
		ifindex, kind, flags, attachFlags  uint32
		ids                                uint64
		count, _                           uint32
		programFlags, links, linkFlags, no uint64
	}
	idAttr   struct{ id, next, flags uint32 }
	infoAttr struct {
		fd, length uint32
		info       uint64
	}
	programInfo struct {
		_, id uint32
		_     [14]uint32
		name  [16]byte
	}
)

// pin is an address as the kernel wants it, at which the value stays until it is unpinned. That of a variable on the stack would
// be another's once the stack grows, on the way to the system call.
func pin[T any](pins *runtime.Pinner, p *T) uint64 {
	pins.Pin(p)
	return uint64(uintptr(unsafe.Pointer(p)))
}

// bpf is bpf(2), again where the kernel was interrupted.
func bpf(command int, attr unsafe.Pointer, size uintptr) (uintptr, error) {
	for {
		r, _, errno := unix.Syscall(unix.SYS_BPF, uintptr(command), uintptr(attr), size)
		switch {
		case errno == 0:
			return r, nil
		case errno != unix.EAGAIN && errno != unix.EINTR:
			return 0, errno
		}
	}
}
