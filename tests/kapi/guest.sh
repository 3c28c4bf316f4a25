# Run by /init of the test machine, with busybox' shell.

t() {
	name=$1
	shift
	if "$@"; then echo "ok $name"; else echo "not ok $name"; fi
}
# wait_for COMMAND...: until it succeeds, for a minute at most.
wait_for() {
	n=0
	until "$@"; do
		n=$((n + 1))
		[ $n -lt 600 ] || return 1
		sleep 0.1
	done
}
lower=/dev/ubda
[ -b $lower ] || lower=/dev/vda
d=/dev/kapi0
sum() { md5sum <$1 | cut -c1-32; }

insmod /rdb_kapi_test.ko
t devnode [ -b $d ]
t size [ "$(cat /sys/block/kapi0/size)" = 131072 ]
t write-cache grep -q 'write back' /sys/block/kapi0/queue/write_cache
t fua [ "$(cat /sys/block/kapi0/queue/fua)" = 1 ]
t stable [ "$(cat /sys/block/kapi0/queue/stable_writes)" = 1 ]
echo "# max_hw_sectors_kb $(cat /sys/block/kapi0/queue/max_hw_sectors_kb), max_sectors_kb $(cat /sys/block/kapi0/queue/max_sectors_kb)"
t max-io [ "$(cat /sys/block/kapi0/queue/max_hw_sectors_kb)" -le 128 ]
t holder [ -d "/sys/block/$(basename $lower)/holders/kapi0" ]

# The same data by way of the disk and of the lower device, in several sizes, some larger than a request may be.
dd if=/dev/urandom of=/data bs=1M count=8 2>/dev/null
dd if=/data of=$d bs=1M oflag=direct 2>/dev/null
t disk-read [ "$(dd if=$d bs=64k count=128 iflag=direct 2>/dev/null | md5sum | cut -c1-32)" = "$(sum /data)" ]
t disk-lower [ "$(dd if=$lower bs=1M count=8 iflag=direct 2>/dev/null | md5sum | cut -c1-32)" = "$(sum /data)" ]
for i in 0 1 2 3; do
	dd if=/data of=$d bs=4k seek=$((4096 + i * 2048)) conv=fsync 2>/dev/null &
done
wait
sync
for i in 0 1 2 3; do
	t disk-parallel-$i [ "$(dd if=$d bs=512 skip=$(((4096 + i * 2048) * 8)) count=16384 2>/dev/null | md5sum | cut -c1-32)" = "$(sum /data)" ]
done
t busy-lower [ "$(mount $lower /mnt 2>&1 | grep -ci 'busy\|invalid')" -ge 1 ]

# A partition, and a file system in it.
printf 'o\nn\np\n1\n2048\n\nw\n' | fdisk $d >/dev/null 2>&1
t partition wait_for [ -b /dev/kapi0p1 ]
if mke2fs /dev/kapi0p1 >/dev/null 2>&1 && mount -t ext4 /dev/kapi0p1 /mnt 2>/dev/null; then
	cp /data /bin/busybox /mnt && sync
	umount /mnt
	mount -t ext4 /dev/kapi0p1 /mnt
	t file-system [ "$(sum /mnt/data)" = "$(sum /data)" ]
	umount /mnt
else
	echo "skip file-system: cannot be made or mounted here"
fi
if [ "$(cat /sys/block/kapi0/queue/discard_max_bytes)" -gt 0 ]; then
	t discard blkdiscard -o 1048576 -l 4194304 $d
else
	echo "skip discard: the lower device cannot"
fi

t proc [ "$(wc -l </proc/rdb_kapi_test)" = 2000 ]
client || echo "not ok client: status $?"

# Gone while it is being written to: rmmod must not be possible with the disk open, and works after.
before=$(awk '{ print $7 }' /sys/block/kapi0/stat)
dd if=/dev/zero of=$d bs=4k oflag=direct 2>/dev/null &
writer=$!
# It has the disk open from the first written sector on.
written() { [ "$(awk '{ print $7 }' /sys/block/kapi0/stat)" -gt "$1" ]; }
wait_for written "$before"
rmmod rdb_kapi_test 2>/dev/null && echo "not ok rmmod-open"
kill $writer
wait $writer 2>/dev/null
dd if=/data of=$d bs=1M 2>/dev/null
t rmmod rmmod rdb_kapi_test
t disk-same [ "$(dd if=$lower bs=1M count=8 2>/dev/null | md5sum | cut -c1-32)" = "$(sum /data)" ]
t devnode-gone [ ! -e $d ]
# Once more, and away at once.
for i in 1; do
	insmod /rdb_kapi_test.ko && rmmod rdb_kapi_test || echo "not ok again-$i"
done

# What nobody refers to any more; kmemleak reports what two scans miss and what is older than five seconds.
leaks=/sys/kernel/debug/kmemleak
if [ -e $leaks ]; then
	echo scan >$leaks
	sleep 6
	echo scan >$leaks
	cat $leaks
	t no-leak [ -z "$(cat $leaks)" ]
fi
