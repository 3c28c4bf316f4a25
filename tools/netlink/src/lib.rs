// SPDX-License-Identifier: GPL-2.0

//! The rdb generic netlink family, seen from user space.
