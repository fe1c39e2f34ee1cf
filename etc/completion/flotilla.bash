# SPDX-License-Identifier: MIT
# Completion of flotilla and flotilla-relay for bash: verbs, options, channels, files.
# Relies on bash alone; channels are asked of `flotilla check --json`. Installed below
# share/bash-completion/completions, or read with: . flotilla.bash

_flotilla_words()
{
    local word
    while IFS= read -r word; do
        COMPREPLY+=("$word")
    done < <(compgen -W "$1" -- "$2")
}

# Files whose names end in one of the patterns, and folders.
_flotilla_files()
{
    local name
    compopt -o filenames 2>/dev/null
    while IFS= read -r name; do
        if [[ -d $name || $name == @($1) ]]; then
            COMPREPLY+=("$name")
        fi
    done < <(shopt -s extglob; compgen -f -- "$2")
}

_flotilla()
{
    local current=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}
    local verb='' config='' options='' extended i
    local verbs='run check doctor status reload channel restart stop send replay listen cat info
        verify recover export overview pin unpin units schema'
    local recordings='*.avro|*.avro.part'
    COMPREPLY=()
    for ((i = 1; i < COMP_CWORD; i++)); do
        case ${COMP_WORDS[i]} in
        -c | --config) config=${COMP_WORDS[++i]} ;;
        -*) ;;
        *) [[ -n $verb ]] || verb=${COMP_WORDS[i]} ;;
        esac
    done
    if [[ -z $verb ]]; then
        _flotilla_words "$verbs --help --version" "$current"
        return
    fi
    case $verb in
    run) options='-c --config --renew' ;;
    check) options='-c --config --offline --print --json --keys --start' ;;
    doctor | reload | stop) options='-c --config --json' ;;
    channel) options='-c --config --add --change --remove --if' ;;
    restart) options='-c --config --all --json' ;;
    status) options='-c --config --watch --json' ;;
    send)
        options='-c --config --rate --count --batch --from --seed --json --to --interface --schema
            --time --sequence'
        ;;
    replay)
        options='-c --config --from --to --interface --ttl --speed --max --step --loop --skip-gaps
            --exact --count --mix --json'
        ;;
    listen) options='-c --config --full --decimated --input --count --timeout --json
            --fields' ;;
    cat) options='--count --csv --fields --schema --from --to --follow --points' ;;
    info) options='--count --json --from --to' ;;
    verify) options='--json' ;;
    recover) options='-o --output --schema --json' ;;
    export)
        options='-c --config -o --output --format --fields --from --to --every --decimate --time
            --time-unit --time-as --gzip --span-by --idle'
        ;;
    pin) options='-c --config --from --to --name --json' ;;
    unpin) options='-c --config --json' ;;
    overview) options='-c --config --rebuild --json' ;;
    units) options='-c --config -o --output' ;;
    schema) options='--json -o --output --time --sequence' ;;
    *) return ;;
    esac
    options+=' --help'

    extended=$(shopt -p extglob)
    shopt -s extglob
    case $verb,$before in
    *,-c | *,--config) _flotilla_files '*.yaml|*.yml' "$current" ;;
    send,--from) _flotilla_files "$recordings" "$current" ;;
    send,--schema | recover,--schema) _flotilla_files '*.avsc|*.json' "$current" ;;
    units,-o | units,--output) _flotilla_files '' "$current" ;;
    schema,-o | schema,--output) _flotilla_files '*.layout' "$current" ;;
    recover,-o | recover,--output) _flotilla_files '*.avro' "$current" ;;
    export,-o | export,--output) _flotilla_files '*.h5|*.mf4|*.mcap|*.csv' "$current" ;;
    export,--format) _flotilla_words 'hdf5 mdf4 mcap csv avro' "$current" ;;
    export,--time-unit) _flotilla_words 's ms us ns' "$current" ;;
    export,--span-by) _flotilla_words 'time arrival' "$current" ;;
    export,--time-as) _flotilla_words 'text s ns' "$current" ;;
    *,--interface) _flotilla_words "$(cd /sys/class/net 2>/dev/null && echo *)" "$current" ;;
    send,--rate | send,--count | send,--batch | send,--seed | send,--to) ;;
    replay,--from | replay,--to | replay,--ttl | replay,--speed | replay,--skip-gaps) ;;
    replay,--count) ;;
    *,--time | *,--sequence | *,--timeout | *,--fields | listen,--count | cat,--count) ;;
    cat,--from | cat,--to | info,--from | info,--to | export,--from | export,--to) ;;
    export,--every | export,--decimate) ;;
    channel,--add | channel,--change) _flotilla_files '*.json' "$current" ;;
    channel,--if | pin,--from | pin,--to | pin,--name) ;;
    cat,--points) ;;
    *)
        if [[ $current == -* ]]; then
            _flotilla_words "$options" "$current"
        else
            case $verb in
            send | listen | channel | restart | pin | unpin)
                _flotilla_words "$("${COMP_WORDS[0]}" check --json ${config:+-c "$config"} \
                    2>/dev/null | sed -n 's/^ *"name": "\(.*\)",*$/\1/p')" "$current"
                ;;
            cat | info | verify | recover | export | replay)
                _flotilla_files "$recordings" "$current"
                ;;
            schema) _flotilla_files '*.avsc|*.json' "$current" ;;
            esac
        fi
        ;;
    esac
    $extended
}

_flotilla_relay()
{
    local current=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} extended
    COMPREPLY=()
    extended=$(shopt -p extglob)
    shopt -s extglob
    case $before in
    --layout) _flotilla_files '*.layout' "$current" ;;
    --directory | --mounted) _flotilla_files '' "$current" ;;
    --interface) _flotilla_words "$(cd /sys/class/net 2>/dev/null && echo *)" "$current" ;;
    --algorithm) _flotilla_words 'downsample average min-max rms' "$current" ;;
    --encoding) _flotilla_words 'datum single-object confluent opaque' "$current" ;;
    --direct-io) _flotilla_words 'auto required off' "$current" ;;
    *)
        # Its help lists the flags; so does this, whatever the version.
        [[ $current == -* ]] && _flotilla_words "$("${COMP_WORDS[0]}" --help 2>/dev/null |
            sed -n 's/^  \(--[a-z-]*\) .*/\1/p') --help --version" "$current"
        ;;
    esac
    $extended
}

complete -F _flotilla flotilla
complete -F _flotilla_relay flotilla-relay
