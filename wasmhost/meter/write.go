package meter

func putU32(o []byte, v uint32) []byte {
	for v >= 0x80 {
		o = append(o, byte(v)|0x80)
		v >>= 7
	}
	return append(o, byte(v))
}

func putS64(o []byte, v int64) []byte {
	for {
		c := byte(v & 0x7f)
		v >>= 7
		if (v == 0 && c&0x40 == 0) || (v == -1 && c&0x40 != 0) {
			return append(o, c)
		}
		o = append(o, c|0x80)
	}
}

func putName(o []byte, s string) []byte { return append(putU32(o, uint32(len(s))), s...) }

func putSection(o []byte, id byte, body []byte) []byte {
	o = putU32(append(o, id), uint32(len(body)))
	return append(o, body...)
}
