# QuickJS: Fabrice Bellard's and Charlie Gordon's engine (MIT), with main.c of this
# folder. Read by ../make.sh.
#
# EMSCRIPTEN in its source means "no atomics and no threads"; it takes the check of the
# stack with it, which CONFIG_STACK_CHECK brings back: without it endless recursion of a
# script would trap instead of throwing.
quickjs() {
	local id src flags file
	id=$(inputs "$here/quickjs/make.sh" "$here/quickjs/main.c" "$here/engines.lock")
	if [ -d "$cache/made/$id" ]; then
		keep quickjs "$id" qjs.wasm
		return
	fi
	source_of quickjs
	mkdir "$work/quickjs"
	tar -C "$work/quickjs" --strip-components=1 -xf "$archive"
	src=$work/quickjs
	mkdir "$src/stub" && : >"$src/stub/setjmp.h" # included by dtoa.c and not used
	cp "$here/quickjs/main.c" "$src/main.c"
	flags=(--target=wasm32-wasi -Oz -I"$src/stub" -isystem $wasi_include -ffunction-sections -fdata-sections
		-D_GNU_SOURCE -DEMSCRIPTEN -DCONFIG_STACK_CHECK "-DCONFIG_VERSION=\"$(cat "$src/VERSION")\""
		-ffile-prefix-map="$src"=. -Wno-everything)
	for file in quickjs libregexp libunicode cutils dtoa main; do
		"$clang" "${flags[@]}" -c "$src/$file.c" -o "$src/$file.o"
	done
	"$ld" -o "$work/made/qjs.wasm" $wasi_lib/crt1-command.o "$src"/{quickjs,libregexp,libunicode,cutils,dtoa,main}.o \
		-L$wasi_lib -lc -lm "$builtins" -z stack-size=1048576 --stack-first --strip-all --gc-sections
	keep quickjs "$id" qjs.wasm
}
quickjs
