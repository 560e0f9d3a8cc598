# CPython 3.11 (PSF licence) as a WASI command, and its standard library as byte code in a
# zip archive. Read by ../make.sh. Without sockets, threads, ssl and zlib: what a plugin
# wants of the network it asks the host for.
#
# The build needs a native python3.11 to make byte code with; Debian 12 has it.
cpython() {
	local id src build cc
	command -v python3.11 >/dev/null || missing "no python3.11 here: apt-get install python3.11-minimal python3.11"
	command -v "llvm-ar-$(lock llvm)" >/dev/null || missing "no llvm-ar-$(lock llvm) here: apt-get install llvm-$(lock llvm)"
	id=$(inputs "$here/cpython/make.sh" "$here/cpython/library.py")
	if [ -d "$cache/made/$id" ]; then
		keep cpython "$id" python.wasm python311.zip
		return
	fi
	source_of python3.11
	src=$work/cpython
	build=$src/build-wasi
	mkdir -p "$build" "$work/sysroot/lib"
	tar -C "$src" --strip-components=1 -xf "$archive"
	ln -s $wasi_include "$work/sysroot/include"
	ln -s $wasi_lib "$work/sysroot/lib/wasm32-wasi"
	cc=$work/cc
	printf '#!/bin/sh\nexec %s --target=wasm32-wasi --sysroot=%s -ffile-prefix-map=%s=. -Wno-int-conversion -Wno-incompatible-function-pointer-types "$@"\n' \
		"$clang" "$work/sysroot" "$src" >"$cc"
	chmod +x "$cc"
	(
		cd "$build"
		export SOURCE_DATE_EPOCH=1700000000 PYTHONHASHSEED=0 PYTHONDONTWRITEBYTECODE=1
		export CONFIG_SITE=../Tools/wasm/config.site-wasm32-wasi PKG_CONFIG_LIBDIR=/nonexistent
		export py_cv_module__socket=n/a py_cv_module_select=n/a OPT='-DNDEBUG -fwrapv -O2'
		../configure -q --host=wasm32-unknown-wasi --build=x86_64-pc-linux-gnu --with-build-python=python3.11 \
			--prefix=/usr --disable-test-modules CC="$cc" CPP="$cc -E" AR="llvm-ar-$(lock llvm)" \
			RANLIB="llvm-ranlib-$(lock llvm)"
		make -s -j"$(nproc)" python.wasm
	) >"$work/cpython.log" 2>&1 || { tail -n 20 "$work/cpython.log" >&2; exit 1; }
	"llvm-strip-$(lock llvm)" -o "$work/made/python.wasm" "$build/python.wasm"
	python3.11 -I "$here/cpython/library.py" "$src/Lib" "$work/made/python311.zip"
	keep cpython "$id" python.wasm python311.zip
}
cpython
